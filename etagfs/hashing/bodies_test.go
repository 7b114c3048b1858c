package hashing

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// scripted is a client that sends pieces of these sizes, as far as there is room for them.
type scripted struct {
	pieces []int
	rooms  []int // that it was given
	sent   int
	end    error
}

func (s *scripted) Read(p []byte) (int, error) {
	s.rooms = append(s.rooms, len(p))
	if len(s.pieces) == 0 {
		return 0, s.end
	}
	n := min(s.pieces[0], len(p))
	for i := range p[:n] {
		p[i] = byte(s.sent + i)
	}
	if s.sent += n; n == s.pieces[0] {
		s.pieces = s.pieces[1:]
	} else {
		s.pieces[0] -= n
	}
	return n, nil
}

// TestSilentClientHoldsLittle: a client holds a large buffer only while it fills it.
func TestSilentClientHoldsLittle(t *testing.T) {
	const small, large = 16 << 10, 256 << 10
	for _, tt := range []struct {
		about  string
		pieces []int
		rooms  []int
	}{
		{"nothing", nil, []int{small}},
		{"a little now and then", []int{1, 1, 1}, []int{small, small, small, small}},
		{"much, and then little", []int{300_000, 1, 1}, []int{small, large, large, small, small, small}},
		{"much at a time", []int{small, large, large, large}, []int{small, large, large, large, large}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			client := &scripted{pieces: tt.pieces, end: io.EOF}
			var got bytes.Buffer
			n, err := ReceiveBody(t.Context(), &got, client, -1)
			if err != nil || int(n) != client.sent || got.Len() != client.sent {
				t.Errorf("%d bytes of %d, error %v", n, client.sent, err)
			}
			for i, b := range got.Bytes() {
				if b != byte(i) {
					t.Fatalf("byte %d is another", i)
				}
			}
			if len(client.rooms) != len(tt.rooms) {
				t.Fatalf("the rooms are %v, want %v", client.rooms, tt.rooms)
			}
			for i := range tt.rooms {
				if client.rooms[i] != tt.rooms[i] {
					t.Errorf("the rooms are %v, want %v", client.rooms, tt.rooms)
					break
				}
			}
		})
	}
	if _, err := ReceiveBody(t.Context(), io.Discard,
		&scripted{pieces: []int{5}, end: io.ErrUnexpectedEOF}, -1); !errors.As(err, new(*tree.BodyError)) {
		t.Errorf("what breaks off: %v", err)
	}
}
