package wire

import "net/http"

// Inner returns the writer of type W among those that w wraps, w included. Each wrapper has a method Unwrap, as for
// [http.ResponseController].
func Inner[W http.ResponseWriter](w http.ResponseWriter) (found W, ok bool) {
	for {
		if found, ok = w.(W); ok {
			return found, true
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return found, false
		}
		w = wrapper.Unwrap()
	}
}
