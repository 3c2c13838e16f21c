
// Shows what the cameras see, and takes pictures. A picture that is not live is
// greyed and says since when and why: one that goes on looking alive would be worse
// than none.
(() => {
	"use strict";
	const quick = 300, calm = 1000, patience = 4000, silent = 3000; // milliseconds
	const time = (ms) => new Date(ms).toLocaleTimeString();
	const lasting = (ms) => ms < 10000 ? (ms / 1000).toFixed(1) + " s" : ms < 120000 ? Math.round(ms / 1000) + " s" : Math.round(ms / 60000) + " min";
	const element = (name, text, parent) => {
		const e = document.createElement(name);
		e.textContent = text;
		parent?.append(e);
		return e;
	};
	// Those of hundreds of tiles that are in view, or nearly.
	const near = new WeakSet(), watcher = new IntersectionObserver((all) => all.forEach((e) => e.isIntersecting ? near.add(e.target) : near.delete(e.target)), { rootMargin: "200px" });
	const visible = (e) => !document.hidden && near.has(e);
	const wait = (ms) => new Promise((done) => setTimeout(done, ms));
	const ask = (path, options, limit) => fetch(location.origin + path, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(limit), ...options });

	// A tile is one picture. It is asked for again and again while it can be seen.
	class Tile {
		constructor(figure) {
			this.figure = figure;
			this.image = figure.querySelector("img");
			this.caption = figure.querySelector("figcaption");
			this.path = "/cameras/" + figure.dataset.camera + "/latest.jpg?w=" + Math.min(Math.ceil(figure.clientWidth * Math.min(devicePixelRatio, 2) / 80) * 80 || 480, 1920);
			this.tag = "";
			this.heard = Date.now();
			this.exposed = 0; // by this device's clock; 0: not known
			watcher.observe(figure);
			this.watch = setInterval(() => visible(figure) && this.describe(), 500);
			this.run();
		}

		async run() {
			while (this.figure.isConnected) {
				if (visible(this.figure)) await this.step();
				await wait(tiles.size > 4 ? calm : quick);
			}
			watcher.unobserve(this.figure);
			clearInterval(this.watch);
			tiles.delete(this.figure);
			URL.revokeObjectURL(this.url);
		}

		async step() {
			try {
				const answer = await ask(this.path, { headers: this.tag ? { "If-None-Match": this.tag } : {} }, patience);
				if (answer.status === 200) await this.show(answer);
				else if (answer.status !== 304) return await this.old(await answer.text());
				this.heard = Date.now();
				this.why = "";
			} catch {
				if (Date.now() - this.heard > silent) this.why = "no contact with the box";
			}
			this.describe();
		}

		async show(answer) {
			const url = URL.createObjectURL(await answer.blob());
			const next = new Image();
			next.src = url;
			try {
				await next.decode();
			} catch (broken) {
				URL.revokeObjectURL(url);
				throw broken;
			}
			this.image.src = url;
			URL.revokeObjectURL(this.url);
			this.url = url;
			this.tag = answer.headers.get("Etag") ?? "";
			this.exposed = Date.now() - Number(answer.headers.get("X-Age-Ms"));
			this.size = (answer.headers.get("X-Exposure-Size") ?? "").replace("x", " × ");
		}

		// Without a picture of its own yet the tile shows the last one that the box has.
		async old(why) {
			this.why = why.trim();
			if (!this.exposed) {
				const answer = await ask(this.path + "&stale=1", {}, patience);
				if (answer.ok) await this.show(answer);
				this.tag = "";
			}
			this.describe();
		}

		describe() {
			if (!visible(this.figure)) this.heard = Date.now(); // nobody has asked
			if (!this.why && Date.now() - this.heard > silent) this.why = "no contact with the box";
			this.figure.classList.toggle("stale", Boolean(this.why));
			const since = this.exposed ? "Not live, of " + time(this.exposed) : "No picture";
			const text = this.why ? since + ": " + this.why : this.exposed ? "Exposed " + time(this.exposed) + ", " + lasting(Math.max(Date.now() - this.exposed, 0)) + " ago · " + this.size : "";
			if (this.caption.textContent !== text) this.caption.textContent = text;
		}
	}

	// A desk takes pictures: its fields become the request.
	class Desk {
		constructor(details) {
			this.camera = details.dataset.camera;
			this.fields = details.querySelector(".fields");
			this.answer = details.querySelector(".answer");
			this.button = details.querySelector("[type=submit]");
			details.querySelector(".more").addEventListener("click", () => this.add("").focus());
			details.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); this.take(); });
			this.add("lot");
			this.add("angle");
			details.hidden = false;
		}

		add(name) {
			const row = element("div", "", this.fields), number = this.fields.children.length;
			const [key, value] = ["Key", "Value"].map((what) => {
				const input = element("input", "", row);
				input.setAttribute("aria-label", what + " " + number);
				input.placeholder = what.toLowerCase();
				return input;
			});
			key.value = name;
			return name ? value : key;
		}

		// A number, true, false and JSON are what they look like; all else is text.
		request() {
			const request = {};
			for (const row of this.fields.children) {
				const [key, value] = Array.from(row.children, (input) => input.value.trim());
				if (!key || !value) continue;
				try {
					request[key] = JSON.parse(value);
				} catch {
					request[key] = value;
				}
			}
			return request;
		}

		async take() {
			this.button.disabled = true;
			this.answer.replaceChildren(element("p", "Waiting for the frame…"));
			try {
				const began = performance.now();
				const answer = await ask("/cameras/" + this.camera + "/request", { method: "POST", body: JSON.stringify(this.request()), headers: { "Content-Type": "application/json", Accept: "image/*" } }, 660000);
				if (answer.ok) await this.show(answer, performance.now() - began);
				else this.refuse((await answer.json()).error);
			} catch (problem) {
				this.refuse("no answer: " + problem.message);
			} finally {
				this.button.disabled = false;
			}
		}

		refuse(why) {
			const p = element("p", "No frame: " + why);
			p.className = "refused";
			this.answer.replaceChildren(p);
		}

		async show(answer, took) {
			const header = JSON.parse(answer.headers.get("X-Framekeeper-Header")), blob = await answer.blob();
			URL.revokeObjectURL(this.url);
			this.url = URL.createObjectURL(blob);
			this.answer.replaceChildren();
			const image = element("img", "", this.answer);
			image.alt = "The frame " + header.id + " of " + this.camera;
			image.src = this.url;
			const list = element("dl", "", this.answer);
			for (const [name, value] of [["frame", header.id], ["exposed", time(header.captured_us / 1000)], ["size", header.width + " × " + header.height],
				["bytes", header.bytes], ["answered in", Math.round(took) + " ms"], ...Object.entries(header.request).filter(([key]) => key !== "id")]) {
				const one = element("div", "", list);
				element("dt", name, one);
				element("dd", typeof value === "string" ? value : JSON.stringify(value), one);
			}
			const link = element("a", "Download", element("p", "", this.answer));
			link.href = this.url;
			link.download = this.camera + "_" + header.id + "." + blob.type.split("/")[1].replace("jpeg", "jpg");
		}
	}

	const tiles = new Map(), desks = new WeakMap();
	const begin = () => {
		for (const figure of document.querySelectorAll("figure.picture")) if (!tiles.has(figure)) tiles.set(figure, new Tile(figure));
		for (const details of document.querySelectorAll("details.take")) if (!desks.has(details)) desks.set(details, new Desk(details));
	};
	begin();
	addEventListener("patched", begin);
})();
