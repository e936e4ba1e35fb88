//go:build race

package broker

// raceDetector: the race detector makes pools forget, so nothing is counted.
const raceDetector = true
