// What a client says to its homeserver, and what of it is tried again.

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// A homeserver's refusal.
export class Refusal extends Error {
  constructor(what, status, body) {
    super(`${what}: ${status} ${body}`);
    this.status = status;
    try {
      this.body = JSON.parse(body);
    } catch {
      this.body = {};
    }
  }
}

export class Homeserver {
  constructor(base) {
    this.base = base;
    this.token = "";
  }

  // Text of the answer. Rate limits are waited out; a read, or what is safe to repeat, is asked for again when the homeserver
  // does not answer.
  async text(method, path, body, signal) {
    const answer = await this.bytes(method, path, body === undefined ? undefined : JSON.stringify(body), signal);
    return answer.toString("utf8");
  }

  async json(method, path, body, signal) {
    return JSON.parse(await this.text(method, path, body, signal));
  }

  async bytes(method, path, body, signal) {
    for (let attempt = 0; ; attempt++) {
      let answer;
      try {
        answer = await fetch(this.base + path, {
          method,
          body,
          signal,
          headers: { "content-type": "application/json", ...(this.token && { authorization: `Bearer ${this.token}` }) },
        });
      } catch (error) {
        if (signal?.aborted || method === "POST" || attempt >= 50) throw error;
        await pause(100);
        continue;
      }
      const data = Buffer.from(await answer.arrayBuffer());
      if (answer.ok) return data;
      const refusal = new Refusal(`${method} ${path}`, answer.status, data.toString("utf8").slice(0, 500));
      if (answer.status === 429) {
        await pause(Math.min(refusal.body.retry_after_ms ?? 500, 5000) + 10);
      } else if (answer.status >= 500 && method !== "POST" && attempt < 10) {
        await pause(200); // Dendrite when it is busy
      } else {
        throw refusal;
      }
    }
  }
}
