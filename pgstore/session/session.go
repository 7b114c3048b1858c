// Package session bounds the sessions of a replica with PostgreSQL. A replica that dies or hangs lets go of its locks by
// them, and a server that is gone without a word is noticed.
package session

import (
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// IdleLimit is how long a transaction may do nothing. Then the server ends the session, and the transaction with it.
	IdleLimit = 5 * time.Second
	// connectTimeout is shorter than the wait for a connection: where the first of several hosts is gone, there is time for
	// the next one.
	connectTimeout = 3 * time.Second
	// silence is after how long without any sign of a host it counts as gone.
	silence = 20 * time.Second
)

// Configure sets the bounds where the address of the database leaves them open.
func Configure(config *pgx.ConnConfig) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 4, Interval: silence / 4, Count: 3},
		Control:         bounded,
	}
	config.DialFunc = dialer.DialContext
	config.OnNotice = noted
	for name, value := range map[string]string{
		"application_name":                    "ifmatch",
		"lock_timeout":                        "5s",
		"idle_in_transaction_session_timeout": "5s",
		"tcp_keepalives_idle":                 "5",
		"tcp_keepalives_interval":             "5",
		"tcp_keepalives_count":                "3",
		"jit":                                 "off", // no statement runs for as long as it would take to compile it
		"enable_bitmapscan":                   "off", // pages of members come in the order of the index: see list.go of pgstore
	} {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
}

// unreplicated is the key under which noted keeps a warning.
const unreplicated = "ifmatch: a commit may be on the primary alone"

// noted notes warnings without a code of their own. A commit whose wait for the standby was ended is answered as if it had
// happened, with such a one.
func noted(conn *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.Code == "01000" {
		conn.CustomData()[unreplicated] = true
	}
}

// Commits forgets the warnings of before a commit. A server may warn at each connection, as where the collations of its
// machine have changed.
func Commits(conn *pgx.Conn) { delete(conn.PgConn().CustomData(), unreplicated) }

// Replicated reports whether the commits of a connection since [Commits] were answered without a warning.
func Replicated(conn *pgx.Conn) bool { return conn.PgConn().CustomData()[unreplicated] == nil }
