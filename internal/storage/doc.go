// Package storage keeps the partition logs and makes appends to them durable.
package storage
