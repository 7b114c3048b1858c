package tree

import (
	"context"
	"time"
)

// A valued is a context with a value of a type of its own. It is what it returns, so that it takes one allocation. Most
// requests have several.
type valued[T any] struct {
	context.Context
	value T
}

type keyOf[T any] struct{}

func (c *valued[T]) Value(key any) any {
	if key == (keyOf[T]{}) {
		return c
	}
	return c.Context.Value(key)
}

func valueOf[T any](ctx context.Context) (value T) {
	if c, ok := ctx.Value(keyOf[T]{}).(*valued[T]); ok {
		value = c.value
	}
	return value
}

// A HashLimit derives the context in which a file is hashed.
type HashLimit func(context.Context) (context.Context, context.CancelFunc)

// WithHashContext returns a context in which a store hashes files under the context that limit derives. A request
// that only wants to know a hash can so be given up earlier than a write.
func WithHashContext(ctx context.Context, limit HashLimit) context.Context {
	return &valued[HashLimit]{ctx, limit}
}

// HashContext returns the context in which a store hashes a file.
func HashContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if limit := valueOf[HashLimit](ctx); limit != nil {
		return limit(ctx)
	}
	return ctx, func() {}
}

// Patience returns a context that ends at the deadline of [ReadOptions], for values that an answer can do without.
func Patience(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

type client string

// WithClient returns a context with the client for which the work is done. A store shares scarce resources out among
// clients. The client "" stands for many clients that cannot be told apart.
func WithClient(ctx context.Context, name string) context.Context {
	return &valued[client]{ctx, client(name)}
}

// ClientOf returns the client of a context.
func ClientOf(ctx context.Context) string { return string(valueOf[client](ctx)) }

// A Principal is the name of the user for whom work is done, or "" for clients that have not logged in.
type Principal string

// WithPrincipal returns a context with the user for whom the work is done. A store records the user in locks, in the
// versions that a write replaces, and in changes.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return &valued[Principal]{ctx, p}
}

// PrincipalOf returns the user of a context.
func PrincipalOf(ctx context.Context) Principal { return valueOf[Principal](ctx) }

// WithReservation returns a context whose Put takes its room from a reservation.
func WithReservation(ctx context.Context, r Reservation) context.Context {
	return &valued[Reservation]{ctx, r}
}

// ReservationOf returns the reservation of a context, or nil.
func ReservationOf(ctx context.Context) Reservation { return valueOf[Reservation](ctx) }
