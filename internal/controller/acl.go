package controller

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"framekeeper/internal/cli"
	"framekeeper/internal/configfile"
	commands "framekeeper/internal/control"
	"framekeeper/pkg/camera"
)

// aclFlags are the command line of acl.
type aclFlags struct {
	box     string
	cameras []string
	engine  string
}

func aclCommand(config *string, stdout, stderr io.Writer) *cobra.Command {
	var f aclFlags
	cmd := &cobra.Command{
		Use:   "acl",
		Short: "Print the users of a box for Redis, each with no more rights than it needs",
		Long: `Prints ACL rules for redis-cli: a user for the box, with its cameras' agents, one for
clients, which read and ask, and one for operators, who also command the box. None of
them can do anything to another box. What is left open is said on standard error.`,
		Example: `  controller acl --config config.toml
  controller acl --box greenbox --camera greencam1 --camera greencam2
  controller acl --box greenbox --camera greencam1 --for 6.2`,
		Args: cli.Args(),
		RunE: func(*cobra.Command, []string) error {
			names, err := f.names(*config)
			if err != nil {
				return err
			}
			return printACL(names, f.engine, stdout, stderr)
		},
	}
	cmd.Flags().StringVar(&f.box, "box", "", "`NAME` of the box (default: the configuration's, with its cameras)")
	cmd.Flags().StringSliceVar(&f.cameras, "camera", nil, "`NAME` of a camera of the box; may be repeated")
	cmd.Flags().StringVar(&f.engine, "for", "7", "`VERSION` of Redis: 7 (and newer, and Valkey) or 6.2")
	return cmd
}

// aclNames are what the rules of a box are about.
type aclNames struct {
	box      string
	logTopic string
	cameras  []camera.Config
	database bool // another one than 0
}

// names come from the flags, or from the configuration if there are none.
func (f *aclFlags) names(config string) (*aclNames, error) {
	if f.engine != "7" && f.engine != "6.2" {
		return nil, cli.Usagef("--for %.20q: expected 7 or 6.2", f.engine)
	}
	if f.box == "" && len(f.cameras) == 0 {
		cfg, err := configfile.Load(config)
		if err != nil {
			return nil, cli.Usage(err)
		}
		return &aclNames{
			box: cfg.Controller.Box, logTopic: cfg.Controller.Telemetry.LogTopic, cameras: cfg.Cameras, database: cfg.Redis.Database() != 0,
		}, nil
	}
	n := &aclNames{box: f.box, logTopic: f.box + "_log"}
	if f.box == "" || len(f.cameras) == 0 {
		return nil, cli.Usagef("acl needs --box and at least one --camera, or neither, for those of the configuration")
	}
	for _, name := range append([]string{f.box}, f.cameras...) {
		if !camera.ValidName(name) {
			return nil, cli.Usagef("%.80q: expected a name of %s", name, camera.NameExpected)
		}
	}
	for _, name := range f.cameras {
		cam := camera.Config{Name: name}
		cam.FillNames()
		n.cameras = append(n.cameras, cam)
	}
	return n, nil
}

// printACL prints the users of the box, and what they can do beyond what they need.
func printACL(n *aclNames, engine string, stdout, stderr io.Writer) error {
	open := "+config|get and +memory|usage are left out: the box does without the warnings that need them"
	old := engine == "6.2"
	if old {
		open += "\ncontroller: Redis 6.2 cannot tell reading a channel from publishing on it: " + n.box + "-client could publish answers and statuses in the box's place, and " +
			n.box + "-operator answers to commands. Neither can touch another box. Redis 7 leaves nothing open"
	}
	_, err := fmt.Fprintf(stdout, "ACL SETUSER %s %s\nACL SETUSER %s-client %s\nACL SETUSER %s-operator %s\nACL SETUSER default off\n",
		n.box, n.boxRules(), n.box, n.readerRules(false, old), n.box, n.readerRules(true, old))
	_, _ = fmt.Fprintf(stderr, "controller: %s\n", open) // a remark
	return err
}

// fresh is how the rules of a user begin, whatever it had before.
const fresh = "reset on >PASSWORD resetchannels"

const (
	boxCommands   = "+subscribe +publish +echo +get +pttl +set +del +xadd +xlen +xtrim +xrevrange +xinfo|stream +xinfo|groups +multi +exec +role"
	readCommands  = "+subscribe +ping +echo +get +pttl +xread +xlen +xrange +xrevrange +xreadgroup +xpending"
	groupCommands = "+xack +xautoclaim +xgroup|create +xgroup|delconsumer"
	clientProbes  = "&probe/client/*"
)

// boxRules are those of the controller and the agents that it runs.
func (n *aclNames) boxRules() string {
	channels := n.each("&", func(c *camera.Config) []string { return []string{c.RequestTopic, c.StreamTopic, c.StatusTopic()} })
	probes := n.each("&probe/", func(c *camera.Config) []string { return []string{c.Name} }, "/*")
	return n.rules(n.each("~", keys), channels, probes, "&"+pattern(n.logTopic),
		"&"+commands.Channel(n.box), "&"+commands.ReplyChannel(n.box), "&probe/"+n.box+"/*", boxCommands)
}

// readerRules are those of clients: they read and ask. Operators command too.
func (n *aclNames) readerRules(operator, old bool) string {
	read := n.each("&", func(c *camera.Config) []string { return []string{c.StreamTopic, c.StatusTopic()} })
	asked := n.each("&", func(c *camera.Config) []string { return []string{c.RequestTopic} })
	if operator {
		read += " &" + commands.ReplyChannel(n.box)
		asked += " &" + commands.Channel(n.box)
	}
	if old {
		return n.rules(n.each("~", keys), asked, read, clientProbes, "+publish", readCommands, groupCommands)
	}
	frames := n.each("~", func(c *camera.Config) []string { return []string{c.FramesKey} })
	return n.rules(n.each("%R~", keys), read, clientProbes, readCommands,
		"(resetchannels "+asked+" "+clientProbes+" +publish)", "("+frames+" "+groupCommands+")")
}

func keys(c *camera.Config) []string { return []string{c.FramesKey, c.StatusKey()} }

// rules joins the parts of a user's rules.
func (n *aclNames) rules(parts ...string) string {
	if n.database {
		parts = append(parts, "+select")
	}
	return fresh + " " + strings.Join(parts, " ")
}

// each is every camera's names, with something before and behind them.
func (n *aclNames) each(before string, of func(*camera.Config) []string, behind ...string) string {
	var all []string
	for i := range n.cameras {
		for _, name := range of(&n.cameras[i]) {
			all = append(all, before+pattern(name)+strings.Join(behind, ""))
		}
	}
	return strings.Join(all, " ")
}

// pattern is a glob that only the name itself matches.
func pattern(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(name)
}
