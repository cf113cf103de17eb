// A relay as one would write it for bun: pairs by send, rooms by its own publish, which gathers writes.
// The first frame says `pair:NAME` or `room:NAME` and is answered by `ok`; every later frame goes on.

const waiting = new Map();

function join(socket, says) {
  if (says.startsWith("room:")) {
    socket.data.room = says;
    socket.subscribe(says);
  } else {
    const partner = waiting.get(says);
    if (partner) {
      waiting.delete(says);
      socket.data.partner = partner;
      partner.data.partner = socket;
    } else {
      waiting.set(says, socket);
    }
    socket.data.placed = true;
  }
  socket.send("ok");
}

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    if (!server.upgrade(request, { data: { room: null, partner: null, placed: false } })) {
      return new Response("WebSocket only", { status: 400 });
    }
  },
  websocket: {
    idleTimeout: 0,
    perMessageDeflate: false,
    message(socket, message) {
      const { room, partner, placed } = socket.data;
      if (partner) {
        partner.send(message);
      } else if (room) {
        socket.publish(room, message);
      } else if (!placed) {
        join(socket, String(message));
      }
    },
    close(socket) {
      if (socket.data.partner) {
        socket.data.partner.data.partner = null;
      }
      for (const [says, other] of waiting) {
        if (other === socket) {
          waiting.delete(says);
        }
      }
    },
  },
});
