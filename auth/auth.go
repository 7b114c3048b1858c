// Package auth decides who asks, and what they may do.
package auth
