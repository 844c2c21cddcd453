package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// platforms that make release builds for.
const platforms = 7

// release looks at what make release has built.
func release(_ context.Context, b *bench) error {
	built, err := filepath.Glob(filepath.Join(b.dist, "gatepost-linux-*"))
	if err != nil {
		return err
	}
	for _, f := range built {
		info, err := os.Stat(f)
		if err != nil {
			return err
		}
		b.report.note("%s: %d bytes", filepath.Base(f), info.Size())
	}
	info, err := os.Stat(filepath.Join(b.dist, "gatepost-linux-amd64"))
	if err != nil {
		return fmt.Errorf("make release builds it: %w", err)
	}
	b.report.below("binary, stripped, amd64", float64(info.Size())/1e6, "MB", 30)
	b.report.figure("platforms that build (amd64, arm64, armv7, armv6, mipsle, riscv64, 386)", float64(len(built)), "", fmt.Sprint(platforms), len(built) == platforms)
	return nil
}
