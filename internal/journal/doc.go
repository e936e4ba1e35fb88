// Package journal is the one writer that makes commits durable.
package journal
