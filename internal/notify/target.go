package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"framekeeper/internal/events"
	"framekeeper/internal/text"
)

// Target is where events go, and which. A nil one is nowhere.
type Target struct {
	box    string
	url    *url.URL
	secret []byte
	events []string // kinds; empty: all
}

// String names the receiver without what may be a secret: some have it in the path.
func (t *Target) String() string { return t.url.Scheme + "://" + t.url.Host }

func (t *Target) wants(e *events.Event) bool {
	return t != nil && (len(t.events) == 0 || slices.Contains(t.events, string(e.Kind)))
}

// post makes one attempt, and follows no redirect: a RoundTripper does not. Of the answer
// only the header is read.
func (t *Target) post(ctx context.Context, by http.RoundTripper, d *delivery) error {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, t.secret)
	mac.Write([]byte(now + "."))
	mac.Write(d.body)
	r := (&http.Request{Method: http.MethodPost, URL: t.url, Header: http.Header{
		"Content-Type":            {"application/json"},
		"User-Agent":              {"framekeeper"},
		"X-Framekeeper-Delivery":  {d.id},
		"X-Framekeeper-Timestamp": {now},
		"X-Framekeeper-Signature": {fmt.Sprintf("sha256=%x", mac.Sum(nil))},
	}, Body: io.NopCloser(bytes.NewReader(d.body)), ContentLength: int64(len(d.body))}).WithContext(ctx)
	if u := t.url.User; u != nil {
		password, _ := u.Password()
		r.SetBasicAuth(u.Username(), password)
	}
	resp, err := by.RoundTrip(r)
	if err != nil {
		return errors.New(reason(err))
	}
	_ = resp.Body.Close() // nothing of it is wanted
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answered %d %s, expected 2xx", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return nil
}

// reason is why no answer came, without what the receiver has sent, which net/http quotes:
// that may be our own address.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return "it does not answer in time"
	}
	why, _, _ := strings.Cut(err.Error(), `"`)
	return text.Printable(why, 200)
}
