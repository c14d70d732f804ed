// Flume peers on npm's avsc, which knows nothing of ours:
//   node flume_peer.js push PROTOCOL PORT BATCHES EVENTS   pushes, prints each status
//   node flume_peer.js sink PROTOCOL EVENTS                is polled, prints its port
"use strict";
const avro = require("avsc");
const net = require("net");

const [mode, protocol, ...rest] = process.argv.slice(2);
const service = avro.Service.forProtocol(JSON.parse(protocol));
const bodyOf = (number) => Buffer.from(`event ${number} \u00e9`);

function push(port, batches, count) {
  const client = service.createClient();
  const socket = net.connect(port, "127.0.0.1").setNoDelay();
  client.createChannel(socket);
  const next = (batch) => {
    if (batch === batches) {
      client.append({ headers: {}, body: bodyOf("last") }, (error, status) => {
        console.log(error ? `error ${error.message}` : status);
        socket.end();
      });
      return;
    }
    const events = Array.from({ length: count }, (_, i) => ({
      headers: { batch: String(batch), "h\u00e9": "" },
      body: bodyOf(batch * count + i),
    }));
    client.appendBatch(events, (error, status) => {
      console.log(error ? `error ${error.message}` : status);
      next(batch + 1);
    });
  };
  next(0);
}

function sink(count) {
  const channel = Array.from({ length: count }, (_, i) => ({
    headers: { at: String(i) },
    body: bodyOf(i),
  }));
  const inFlight = new Map();
  let sequence = 0;
  const server = service
    .createServer()
    .onGetEventBatch((n, answer) => {
      const events = channel.splice(0, n);
      if (!events.length) {
        const none = { errorMsg: "no events", sequenceNumber: "", events: [] };
        setTimeout(() => answer(null, none), 20);
        return;
      }
      const key = `sequence ${++sequence}`;
      inFlight.set(key, events);
      answer(null, { errorMsg: "", sequenceNumber: key, events });
    })
    .onAck((key, answer) => {
      if (!inFlight.delete(key)) {
        answer(new Error("no such transaction"));
        return;
      }
      answer(null, null);
      console.log(`acknowledged ${key}`);
    })
    .onNack((key, answer) => {
      channel.unshift(...inFlight.get(key));
      inFlight.delete(key);
      answer(null, null);
      console.log(`given back ${key}`);
    });
  const listening = net.createServer((socket) => {
    socket.setNoDelay();
    socket.on("error", () => {});
    server.createChannel(socket);
  });
  listening.listen(0, "127.0.0.1", () => console.log(listening.address().port));
}

if (mode === "push") {
  push(...rest.map(Number));
} else {
  sink(Number(rest[0]));
}
