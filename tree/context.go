package tree

import (
	"context"
	"time"
)

type hashContextKey struct{}

// A hashContext is its own value, so that it takes one allocation. Most requests have one.
type hashContext struct {
	context.Context
	limit HashLimit
}

func (c *hashContext) Value(key any) any {
	if key == (hashContextKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// A HashLimit derives the context in which a file is hashed.
type HashLimit func(context.Context) (context.Context, context.CancelFunc)

// WithHashContext returns a context in which a store hashes files under the context that limit derives. A request
// that only wants to know a hash can so be given up earlier than a write.
func WithHashContext(ctx context.Context, limit HashLimit) context.Context {
	return &hashContext{ctx, limit}
}

// HashContext returns the context in which a store hashes a file.
func HashContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if c, ok := ctx.Value(hashContextKey{}).(*hashContext); ok {
		return c.limit(ctx)
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

type clientKey struct{}

// A clientContext is its own value, as a hashContext is.
type clientContext struct {
	context.Context
	client string
}

func (c *clientContext) Value(key any) any {
	if key == (clientKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// WithClient returns a context with the client for which the work is done. A store shares scarce resources out among
// clients. The client "" stands for many clients that cannot be told apart.
func WithClient(ctx context.Context, client string) context.Context {
	return &clientContext{ctx, client}
}

// ClientOf returns the client of a context.
func ClientOf(ctx context.Context) string {
	if c, ok := ctx.Value(clientKey{}).(*clientContext); ok {
		return c.client
	}
	return ""
}

type reservationKey struct{}

// WithReservation returns a context whose Put takes its room from a reservation.
func WithReservation(ctx context.Context, r Reservation) context.Context {
	return context.WithValue(ctx, reservationKey{}, r)
}

// ReservationOf returns the reservation of a context, or nil.
func ReservationOf(ctx context.Context) Reservation {
	r, _ := ctx.Value(reservationKey{}).(Reservation)
	return r
}
