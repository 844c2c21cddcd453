package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatepost/gatepost/gateway/matrix"
	"github.com/gatepost/gatepost/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatepost": main})
}

// TestScripts runs the real program by the scripts in testdata, one a promise. Beside testscript's own commands there are
//
//	exits CODE PROGRAM [ARGUMENT...]   runs a program that must end with this exit code
//	eventually PROGRAM [ARGUMENT...]   runs a program until it succeeds, for at most 10 s
//	mkstore FOLDER                     makes an empty store
//	mode FILE PERMISSIONS              checks a file's permissions, in octal
//
// and the condition [goolm], which holds where the program can encrypt.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			if name != "goolm" {
				return false, fmt.Errorf("no condition %q", name)
			}
			return matrix.CanEncrypt, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				err = ts.Exec(args[1], args[2:]...)
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			"eventually": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 1 {
					ts.Fatalf("usage: eventually PROGRAM [ARGUMENT...]")
				}
				for end := time.Now().Add(10 * time.Second); ; {
					err := ts.Exec(args[0], args[1:]...)
					if err == nil {
						return
					}
					if time.Now().After(end) {
						ts.Check(err)
					}
					<-time.After(20 * time.Millisecond)
				}
			},
			"mkstore": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: mkstore FOLDER")
				}
				s, err := store.Open(store.Options{Path: ts.MkAbs(args[0])})
				ts.Check(err)
				ts.Check(s.Close())
			},
			"mode": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 {
					ts.Fatalf("usage: mode FILE PERMISSIONS")
				}
				info, err := os.Stat(ts.MkAbs(args[0]))
				ts.Check(err)
				if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[1] {
					ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
				}
			},
		},
	})
}
