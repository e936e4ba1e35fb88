// Package journal makes commits durable: one writer, recycled files, and one
// sync for all that wait.
package journal
