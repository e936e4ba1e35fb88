// Package weir runs consumer-group applications over the Kafka protocol.
package weir
