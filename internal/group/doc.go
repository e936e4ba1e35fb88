// Package group is the consumer-group coordinator's logic, without its I/O.
package group
