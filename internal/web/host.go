package web

import (
	"net"
	"net/http"
	"strings"
)

// ownNames lets a request through that names the page by an address or by a name
// without a dot (localhost, the box's own). Any other name may have been made to
// mean this box by somebody whose web page then reads ours, in the browser of a
// visitor that sits here: it is of the same origin.
func ownNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownName(r.Host) {
			http.Error(w, "without http_user the page answers only to the box's address or localhost "+
				"(a proxy can send Host: localhost)", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func ownName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	return !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") || net.ParseIP(name) != nil
}
