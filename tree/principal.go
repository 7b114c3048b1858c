package tree

import "context"

// A Principal is the name of the user for whom work is done, or "" for clients that have not logged in.
type Principal string

type principalKey struct{}

// WithPrincipal returns a context with the user for whom the work is done. A store records the user in locks, in the
// versions that a write replaces, and in changes.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf returns the user of a context.
func PrincipalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}
