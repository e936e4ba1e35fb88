// Package batch reads, checks and builds Kafka record batches, format v2.
package batch
