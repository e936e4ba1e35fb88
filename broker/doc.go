// Package broker is a durable, embeddable, single-node broker that speaks the
// Apache Kafka protocol.
package broker
