// Login measures whether the time of an answer to a wrong password tells if the user exists. It starts the server with
// users of its own, and sends it wrong passwords for three kinds of names in turn: users with a password, users without
// one, and names that no user has. Each request comes from an address of its own, so that no answer is delayed. For
// each kind, it prints the median and its ratio to that of users with a password. It also prints how often an answer
// took longer than one for such a user: half of the times, if the time tells nothing.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/crypto/bcrypt"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/bench/compare"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rounds := flag.Int("rounds", 200, "how many `TIMES` each kind of name is tried")
	flag.Parse()
	if *rounds < 1 || *rounds > maxRounds || flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "login: -rounds is from 1 to %d, and there is nothing else\n", maxRounds)
		os.Exit(2)
	}
	if err := measure(ctx, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

const (
	people    = 20   // of each kind in the users file
	maxRounds = 5000 // there are enough addresses below 127.0.0.0/8
)

// A kind is a kind of names. Its function returns the name for a round.
type kind struct {
	label string
	name  func(round int) string
}

var kinds = []kind{
	{"a user with a password", func(round int) string { return fmt.Sprint("user", round%people) }},
	{"a user with a password, again", func(round int) string { return fmt.Sprint("user", (round+people/2)%people) }},
	{"a user without one", func(round int) string { return fmt.Sprint("token", round%people) }},
	{"no user", func(round int) string { return fmt.Sprint("nobody", round) }},
	{"no user, a long name", func(round int) string { return strings.Repeat("x", 200) + fmt.Sprint(round) }},
}

func measure(ctx context.Context, rounds int) error {
	dir, err := os.MkdirTemp("", "ifmatch-login-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	users := filepath.Join(dir, "users")
	if err := writeUsers(users); err != nil {
		return err
	}
	binary := filepath.Join(dir, "ifmatch")
	if err := compare.Build(ctx, binary, false); err != nil {
		return err
	}
	url, end, err := start(ctx, binary, users)
	if err != nil {
		return err
	}
	defer end()
	took := make([][]time.Duration, len(kinds))
	for round := range rounds {
		for _, k := range rand.Perm(len(kinds)) {
			d, err := try(ctx, url, kinds[k].name(round), round*len(kinds)+k)
			if err != nil {
				return err
			}
			took[k] = append(took[k], d)
		}
	}
	return report(took)
}

// writeUsers makes users whose passwords are hashed with argon2id and bcrypt, in equal parts, and users without one.
func writeUsers(file string) error {
	var b strings.Builder
	for i := range people {
		hash, err := auth.NewHash("right")
		if i%2 == 1 {
			var made []byte
			made, err = bcrypt.GenerateFromPassword([]byte("right"), 8)
			hash = string(made)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "user%d:%s\ntoken%d:%s\n", i, hash, i, auth.NoPassword)
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}

// start starts the server, and returns its URL and the function that ends it.
func start(ctx context.Context, binary, users string) (url string, end func(), err error) {
	cmd := exec.CommandContext(ctx, binary, "serve", "--memory", "--addr", "127.0.0.1:0", "--users", users)
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, err
	}
	end = func() { cmd.Process.Kill(); cmd.Wait() }
	lines := bufio.NewReader(said)
	first, err := lines.ReadString('\n')
	go io.Copy(io.Discard, lines)
	_, url, ok := strings.Cut(strings.TrimSpace(first), " at ")
	if err != nil || !ok {
		end()
		return "", nil, fmt.Errorf("the server has not started: %q, %w", first, err)
	}
	return url, end, nil
}

// try sends a wrong password from the n-th address, and returns how long the answer took.
func try(ctx context.Context, url, name string, n int) (time.Duration, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))}
	client := http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: from}).DialContext, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	r.SetBasicAuth(name, fmt.Sprint("wrong", n))
	began := time.Now()
	w, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	w.Body.Close()
	if w.StatusCode != http.StatusUnauthorized {
		return 0, errors.New("the answer is " + w.Status)
	}
	return took, nil
}

func report(took [][]time.Duration) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(out, "| a wrong password of \t| median \t| ratio \t| longer than of a user with a password \t|")
	fmt.Fprintln(out, "|---\t|---\t|---\t|---\t|")
	first := median(took[0])
	for k, all := range took {
		fmt.Fprintf(out, "| %s \t| %.1f ms \t| %.3f \t| %.0f %% of the times \t|\n", kinds[k].label,
			float64(median(all))/1e6, float64(median(all))/float64(first), 100*longer(all, took[0]))
	}
	return out.Flush()
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// longer returns in which share of all pairs the first is longer than the second.
func longer(a, b []time.Duration) float64 {
	sorted, sum := slices.Sorted(slices.Values(b)), 0
	for _, d := range a {
		i, _ := slices.BinarySearch(sorted, d)
		sum += i
	}
	return float64(sum) / float64(len(a)) / float64(len(b))
}
