package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"framekeeper/internal/testkit/hostile"
)

// This file and those named hostile* have each program talk to a Redis that is broken
// or malicious: one that answers commands with chosen bytes (attacks), and one of whose
// bytes some are changed on the way (mutations).
//
//	go run ./test/faults -mode hostile
//
// Nothing may end a program, fill its memory, or leave it without its Redis.

const (
	hostileMutations = 200
	memoryBudget     = 256 << 10 // KiB above what a program takes otherwise
	healBudget       = 1500 * time.Millisecond
	largeValue       = 400 << 20
	answerLimit      = 3 * time.Second  // for a command that a program may not use at all
	helplessLimit    = 30 * time.Second // until a program counts as not healed
)

// attempts are all attempts of one kind at one program.
type attempts struct {
	Program  string          `json:"program"`
	Kind     string          `json:"kind"`
	Count    int             `json:"attempts"`
	Unused   int             `json:"unused"` // the program does not use that command
	Ended    int             `json:"ended"`  // the program did
	Heals    []time.Duration `json:"heals_ns"`
	AboveKiB int             `json:"peak_rss_above_normal_kib"`
	Problems []string        `json:"problems,omitempty"`
}

// hostileMode attacks all programs beside each other and prints what came of it.
func (o *options) hostileMode() error {
	all, err := o.attackAll()
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "seed %d, budget %s until a program works again\n", o.seed, healBudget)
	g := newGrid(o.out, "attack", "program", "attempts", "not used", "ended", "healed", "after (p50/p99/max)", "peak RSS above normal", "verdict")
	var wrong []string
	for _, a := range all {
		verdict := "kept"
		if problems := a.judge(1); len(problems) > 0 {
			verdict = "MISSED"
			for _, p := range problems {
				wrong = append(wrong, fmt.Sprintf("%s, %s: %s", a.Kind, a.Program, p))
			}
		}
		g.row(a.Kind, a.Program, fmt.Sprint(a.Count), fmt.Sprint(a.Unused), fmt.Sprint(a.Ended), fmt.Sprint(len(a.Heals)),
			spreadOfTimes(a.Heals).String()+" ms", fmt.Sprintf("%d MiB", a.AboveKiB>>10), verdict)
	}
	g.end()
	return o.finish(all, wrong)
}

// judge lists what is wrong. slack widens the time for a busy machine.
func (a *attempts) judge(slack int) []string {
	problems := a.Problems
	if a.AboveKiB > memoryBudget {
		problems = append(problems, fmt.Sprintf("%d MiB above normal", a.AboveKiB>>10))
	}
	limit, late := healBudget*time.Duration(slack), 0
	for _, heal := range a.Heals {
		if heal > limit {
			late++
		}
	}
	if late > 0 {
		problems = append(problems, fmt.Sprintf("%d times it healed after more than %s, at worst after %s", late, limit, slices.Max(a.Heals).Round(time.Millisecond)))
	}
	if a.Count == a.Unused {
		problems = append(problems, "no attempt reached it")
	}
	return problems
}

// attackAll attacks every program, each with a Redis of its own.
func (o *options) attackAll() ([]attempts, error) {
	if err := o.buildPrograms(); err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	found, failed := make([][]attempts, len(victims)), make([]error, len(victims))
	for i, v := range victims {
		wg.Go(func() {
			b := &bench{name: "hostile", out: o.notes}
			failed[i] = b.run(func() {
				s := &siege{bench: b, ctx: o.ctx, o: o, victim: v, random: rand.New(rand.NewPCG(o.seed, uint64(i)))} //nolint:gosec // repeatable
				s.begin()
				found[i] = append(s.attacks(), s.mutations())
				s.end(found[i])
			})
		})
	}
	wg.Wait()
	var all []attempts
	for i, err := range failed {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", victims[i].name, err)
		}
		all = append(all, found[i]...)
	}
	slices.SortStableFunc(all, func(a, b attempts) int { return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind) })
	return all, nil
}

const mutated = "mutations of a session"

var kinds = []string{hostile.Empty, hostile.Numbers, hostile.Depth, hostile.Types, hostile.Shapes, hostile.Lines, hostile.Foreign, hostile.Large, mutated}

// attacks answers each of the program's commands with each attack. In the short form
// each attack comes once.
func (s *siege) attacks() (all []attempts) {
	byKind := map[string]*attempts{}
	for turn, command := range s.victim.commands {
		sent := hostile.Attacks()
		switch command {
		case "push":
			sent = append(hostile.Pushes(), hostile.LargeMessage(s.victim.channel, s.large()))
		case "connect", "hello":
		default:
			sent = append(sent, hostile.LargeValue(s.large()))
		}
		for i, attack := range sent {
			if s.o.short && i%len(s.victim.commands) != turn {
				continue
			}
			a := byKind[attack.Kind]
			if a == nil {
				a = &attempts{Program: s.victim.name, Kind: attack.Kind}
				byKind[attack.Kind] = a
			}
			s.attempt(a, fmt.Sprintf("%s is answered with %.40q", command, attack.Bytes), func(ctx context.Context) bool {
				return s.attack(ctx, command, attack.Bytes)
			})
		}
	}
	for _, a := range byKind {
		all = append(all, *a)
	}
	return all
}

func (s *siege) large() int {
	if s.o.short {
		return largeValue / 10
	}
	return largeValue
}

// attack has a command answered so, and returns whether the program asked.
func (s *siege) attack(ctx context.Context, command, answer string) bool {
	defer s.middle.Heal()
	before := s.middle.Answered()
	if command == "push" {
		s.middle.Push(answer)
		return s.middle.Answered() > before
	}
	s.middle.Answer(command, answer)
	if slices.Contains([]string{"connect", "hello", "subscribe", "xrevrange"}, command) { // once a session
		s.middle.CutAll()
	}
	for deadline := time.Now().Add(answerLimit); ctx.Err() == nil && time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if s.middle.Answered() > before {
			return true
		}
	}
	return false
}

// mutations changes the bytes of a session, again and again.
func (s *siege) mutations() attempts {
	a := attempts{Program: s.victim.name, Kind: mutated}
	n := hostileMutations
	if s.o.short {
		n /= 20
	}
	for range n {
		m := hostile.RandomMutation(s.random)
		s.attempt(&a, m.String(), func(ctx context.Context) bool {
			came := s.middle.Mutate(m)
			for ctx.Err() == nil {
				select {
				case <-came:
					return true
				default:
					s.victim.works(s) // so that there are bytes
				}
			}
			return false
		})
	}
	return a
}

// attempt does one attempt, and waits until the program works again.
func (s *siege) attempt(a *attempts, what string, do func(context.Context) bool) {
	if s.ctx.Err() != nil || len(a.Problems) > 5 {
		return
	}
	s.resetPeak()
	a.Count++
	if !do(s.ctx) {
		a.Unused++
		return
	}
	began := time.Now()
	took, ok := s.works(began)
	above := max(s.process.Peak()-s.normal, 0)
	a.AboveKiB = max(a.AboveKiB, above)
	if ok {
		a.Heals = append(a.Heals, took)
	} else {
		a.Problems = append(a.Problems, fmt.Sprintf("%s: %s", what, s.state()))
	}
	if s.ended() {
		a.Ended++
	}
	if took > healBudget || above > memoryBudget {
		fmt.Fprintf(s.o.notes, "%s: %s: healed after %s, %d MiB above normal\n%s", s.victim.name, what, took.Round(time.Millisecond), above>>10, s.process.Tail(4))
	}
}

// resetPeak has the kernel measure the peak of the program's memory anew.
func (s *siege) resetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.process.PID), []byte("5"), 0) // if not permitted, the peak is of all attempts
}

// works waits until the program does its work, and returns how long after an instant it
// does. It has done so twice, because what is broken may not be noticed at once.
func (s *siege) works(since time.Time) (took time.Duration, ok bool) {
	for again := false; time.Since(since) < helplessLimit && s.ctx.Err() == nil; {
		switch {
		case s.ended():
			return time.Since(since), false
		case !s.victim.works(s):
			again = false
		case again:
			return took, true
		default:
			again, took = true, time.Since(since)
		}
	}
	return time.Since(since), false
}

// ended reports whether the program has.
func (s *siege) ended() bool {
	select {
	case <-s.process.Exited:
		return true
	default:
		return false
	}
}

// state says what is left of the program.
func (s *siege) state() string {
	if s.ended() {
		return "it ended:\n" + s.process.Said() + s.process.Tail(5)
	}
	return fmt.Sprintf("it does not work within %s:\n%s", helplessLimit, s.process.Tail(5))
}
