package compare

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Build builds the program of the module in which the current directory is: as releases are built, or as go build does.
func Build(ctx context.Context, binary string, release bool) error {
	module, err := exec.CommandContext(ctx, "go", "list", "-m").Output()
	if err != nil {
		return fmt.Errorf("looking for the program (run this in its source tree): %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", binary)
	if release {
		build.Args = append(build.Args, "-trimpath", "-ldflags", "-s -w")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	build.Args = append(build.Args, strings.TrimSpace(string(module)))
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program (run this in its source tree): %w\n%s", err, out)
	}
	return nil
}
