package tree

import "context"

// A Principal is the user for whom something is done. "" stands for all who have not said who they are.
type Principal string

type principalKey struct{}

// WithPrincipal returns a context for what is done for a user. A store keeps the principal in the locks that are taken with
// it, in the versions that give way to a write, and in changes.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf returns the user for whom something is done.
func PrincipalOf(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}
