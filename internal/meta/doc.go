// Package meta holds what a broker knows of its topics and settings.
package meta
