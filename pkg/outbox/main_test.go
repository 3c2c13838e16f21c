package outbox

import (
	"testing"

	"framekeeper/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
