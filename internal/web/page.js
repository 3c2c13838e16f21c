
// Keeps the page as the box is, and says so when it cannot. A page that goes on
// showing "healthy" without knowing it would be worse than none.
(() => {
	"use strict";
	const root = document.documentElement, every = Number(root.dataset.every) || 1000, seldom = Math.max(every, 3000), patience = 4000, stale = 9000; // milliseconds
	const from = root.dataset.from, main = document.querySelector("main"), contact = document.getElementById("contact");
	let seen = Date.now(), busy = false, timer = 0, told = "", asked = ""; // told: why there is no contact

	// Nodes that stay what they are stay where they are, so that the place on the
	// page, a selection and the focus survive, and only changes are read aloud.
	const patch = (have, want) => {
		if (have.nodeName !== want.nodeName) return have.replaceWith(want);
		if (have.nodeType === Node.ELEMENT_NODE && (have.dataset.live || want.dataset.live)) { // pictures.js has it
			return have.dataset.live === want.dataset.live ? undefined : have.replaceWith(want);
		}
		if (have.nodeType !== Node.ELEMENT_NODE) {
			if (have.data !== want.data) have.data = want.data;
			return;
		}
		for (const a of Array.from(have.attributes)) if (!want.hasAttribute(a.name) && a.name !== "open") have.removeAttribute(a.name); // open: by the reader
		for (const a of want.attributes) if (have.getAttribute(a.name) !== a.value) have.setAttribute(a.name, a.value);
		const named = Array.from(want.children);
		if (named.length && named.every((n) => n.id)) return keyed(have, named);
		const old = Array.from(have.childNodes), now = Array.from(want.childNodes);
		now.forEach((n, i) => i < old.length ? patch(old[i], n) : have.append(n));
		old.slice(now.length).forEach((n) => n.remove());
	};

	// Children that have names are known by them, so that those that move stay what they are.
	const keyed = (have, want) => {
		const known = new Map(Array.from(have.children, (n) => [n.id, n]));
		want.forEach((n, i) => {
			const mine = known.get(n.id), at = have.children[i];
			if ((mine ?? n) !== at) have.insertBefore(mine ?? n, at ?? null);
			if (mine) patch(mine, n);
		});
		Array.from(have.children).slice(want.length).forEach((n) => n.remove());
	};

	const lost = (why) => {
		if (root.classList.contains("lost") && (!why || why === told)) return;
		told = why;
		root.classList.add("lost");
		const head = document.createElement("b");
		head.textContent = "No contact with " + from + " since " + new Date(seen).toLocaleTimeString();
		contact.replaceChildren(head, "What is shown below is old" + why + ". Check whether " + from + " runs, its power and network cable, and the network of this device. The connection is tried again automatically.");
		contact.hidden = false;
		document.title = "? No contact: " + document.querySelector("h1").textContent;
		document.querySelector("link[rel=icon]").href = "data:,";
	};

	const found = (next) => {
		seen = Date.now();
		root.classList.remove("lost");
		contact.hidden = true;
		contact.replaceChildren();
		patch(main, next.querySelector("main"));
		dispatchEvent(new Event("patched"));
		document.title = next.title;
		document.querySelector("link[rel=icon]").href = next.querySelector("link[rel=icon]").href;
	};

	const ask = async () => {
		const abort = new AbortController(), limit = setTimeout(() => abort.abort(), patience);
		try {
			asked = location.search;
			const answer = await fetch(location.origin + location.pathname + asked, { cache: "no-store", redirect: "error", signal: abort.signal });
			if (!answer.ok) return lost(": " + from + " answers with error " + answer.status);
			const next = new DOMParser().parseFromString(await answer.text(), "text/html");
			const print = next.documentElement.dataset.print;
			if (!print) return lost(": something else answers in its place");
			if (print !== root.dataset.print) return location.reload(); // another version runs there now
			if (asked === location.search) found(next);
		} catch {
			lost("");
		} finally {
			clearTimeout(limit);
		}
	};

	const follow = async () => {
		if (busy) return;
		busy = true;
		clearTimeout(timer);
		const began = performance.now();
		await ask();
		busy = false;
		// A page of hundreds of cameras may not keep the box or this device busy.
		const pause = root.classList.contains("lost") ? every : Math.min(Math.max(every, 4 * (performance.now() - began)), seldom);
		timer = setTimeout(follow, asked === location.search ? pause : 0);
	};

	// Whatever became of timers and answers: a phone that slept must not show what
	// was. Hidden pages are let alone, browsers slow their timers down.
	const watch = () => {
		if (!document.hidden && Math.abs(Date.now() - seen) > stale) lost("");
	};

	addEventListener("stale", follow); // what is shown does not fit the address any more
	contact.hidden = true;
	contact.replaceChildren();
	timer = setTimeout(follow, every);
	setInterval(watch, 1000);
	for (const event of ["visibilitychange", "online", "pageshow"]) addEventListener(event, () => { watch(); follow(); });
})();
