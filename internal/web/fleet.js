
// The filter of the page of all boxes: the server shows what fits, the script asks for
// it while somebody types. "/" goes to it.
(() => {
	"use strict";
	const form = document.querySelector("form.filter");
	if (!form) return;
	let timer = 0;
	const show = () => {
		const query = new URLSearchParams(location.search);
		if (form.q.value.trim()) query.set("q", form.q.value.trim());
		else query.delete("q");
		history.replaceState(null, "", "/" + (query.size ? "?" + query : ""));
		dispatchEvent(new Event("stale"));
	};
	form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
	form.q.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, 150); });
	addEventListener("keydown", (event) => {
		if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || document.activeElement.matches("input, textarea")) return;
		event.preventDefault();
		form.q.focus();
	});
})();
