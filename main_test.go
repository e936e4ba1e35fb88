package weir

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain holds every test to this: whatever an App started ends with Run.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
