// Stores the newest published frame of a camera as frame.jpg, and subscribes again when
// Redis was away. Needs Node.js 18 and no package.
//
//   node reader.mjs CAMERA [HOST [PORT]]
import fs from "node:fs";
import net from "node:net";

const [camera, host = "127.0.0.1", port = "6379"] = process.argv.slice(2);
const channel = "stream/" + camera;

let wanted = 0; // bytes before it is worth looking at them again

// value reads one value of Redis's protocol: [the value, where the next begins], or
// undefined if it is not all there.
function value(data, at = 0) {
  const end = data.indexOf("\r\n", at);
  if (end < 0) return undefined;
  const line = data.toString("latin1", at + 1, end), n = Number(line);
  let next = end + 2;
  switch (String.fromCharCode(data[at])) {
    case "+": return [line, next];
    case ":": return [n, next];
    case "$":
      if (n < 0) return [null, next];
      wanted = next + n + 2;
      return data.length < wanted ? undefined : [data.subarray(next, next + n), wanted];
    case "*": {
      const list = [];
      while (list.length < n) {
        const one = value(data, next);
        if (!one) return undefined;
        list.push(one[0]);
        next = one[1];
      }
      return [list, next];
    }
    default: throw new Error("Redis: " + line.slice(0, 200));
  }
}

function take(message) {
  const end = message.indexOf("\n");
  let header;
  try {
    header = JSON.parse(message.subarray(0, Math.max(end, 0)));
  } catch {
    return; // it is no frame
  }
  const image = message.subarray(end + 1);
  if (header?.status !== "ok" || header.bytes !== image.length) return;
  console.log(JSON.stringify(header));
  fs.writeFileSync("frame.jpg", image);
}

function read() {
  wanted = 0;
  let parts = [], size = 0; // of what has come, and is not a whole value
  const socket = net.connect({ host, port, timeout: 10000 }, () => socket.write(`SUBSCRIBE ${channel}\r\n`));
  const ping = setInterval(() => socket.write("PING\r\n"), 3000); // silence means that Redis is gone
  socket.on("data", (part) => {
    parts.push(part);
    size += part.length;
    if (size < wanted) return;
    let data = Buffer.concat(parts), one;
    try {
      while (((wanted = 0), (one = value(data)))) {
        data = data.subarray(one[1]);
        if (one[0]?.[0]?.toString() === "message") take(one[0][2]);
      }
    } catch (error) {
      socket.destroy(error);
    }
    parts = [data];
    size = data.length;
  });
  socket.on("timeout", () => socket.destroy(new Error("silent for 10 s")));
  socket.on("error", (error) => console.error(error.message));
  socket.on("close", () => {
    clearInterval(ping);
    setTimeout(read, 1000);
  });
}
read();
