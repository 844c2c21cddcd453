// What an MQTT broker must do, asked of it with MQTT.js: node mqttjs_cases.mjs MODULES URL LEVEL [CASE...]
//
// MODULES is the folder that MQTT.js is installed in. The rest is as in paho_cases.py: accounts, passwords and the
// certificate in the environment, one line a case on standard output.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'

const [modules, url, level, ...only] = process.argv.slice(2)
const mqtt = createRequire(modules + '/')('mqtt')
const five = level === '5'
const patience = 10_000 // ms for what must come
const quiet = 700 // ms for what must not
const run = `${process.pid.toString(16)}-${Date.now() % 1e6}`
let number = 0
const unique = (word) => `${word}-${run}-${number++}`

class Client {
  messages = []
  waiting = null

  static async connect (options = {}) {
    const { expiry = 0, clean = true, user = 'tester', password = process.env.PASSWORD, properties = {}, ...more } = options
    const self = new Client()
    self.id = options.clientId ?? unique('js')
    self.c = mqtt.connect(url, {
      clientId: self.id,
      clean: five ? clean : clean && expiry === 0,
      protocolVersion: five ? 5 : 4,
      username: user ?? undefined,
      password: password ?? undefined,
      reconnectPeriod: 0,
      connectTimeout: patience,
      ca: process.env.CA_FILE ? readFileSync(process.env.CA_FILE) : undefined,
      properties: five ? { ...(expiry ? { sessionExpiryInterval: expiry } : {}), ...properties } : undefined,
      ...more
    })
    self.c.on('message', (topic, payload, packet) => {
      self.messages.push({ topic, text: payload.toString(), payload, packet })
      self.waiting?.()
    })
    self.ended = new Promise((resolve) => self.c.once('close', resolve))
    self.disconnect = new Promise((resolve) => self.c.once('disconnect', resolve))
    self.connack = await new Promise((resolve, reject) => {
      self.c.once('connect', resolve)
      self.c.once('error', reject)
    })
    self.c.on('error', () => {}) // shows as a closed connection
    return self
  }

  get present () { return this.connack.sessionPresent }

  async get (n = 1) {
    const end = Date.now() + patience
    while (this.messages.length < n) {
      if (Date.now() > end) throw new Error(`${this.messages.length} of ${n} messages came within ${patience} ms`)
      await new Promise((resolve) => { this.waiting = resolve; setTimeout(resolve, 100) })
    }
    return this.messages.splice(0, n)
  }

  async texts (n) { return (await this.get(n)).map((m) => m.text) }

  async nothing (wait = quiet) {
    await sleep(wait)
    if (this.messages.length) throw new Error(`unexpected: ${this.messages[0].topic} ${this.messages[0].text.slice(0, 50)}`)
  }

  async subscribe (topic, options = { qos: 1 }) { return this.c.subscribeAsync(topic, options) }
  async publish (topic, payload, options = { qos: 1 }) { return this.c.publishAsync(topic, payload, options) }
  async leave () { await this.c.endAsync() }
  // abort breaks the connection without a word.
  async abort () { this.c.stream.destroy(); await this.ended }
}

const numbers = (n, from = 0) => Array.from({ length: n }, (_, i) => String(i + from))
function same (got, want) {
  if (!isDeepStrictEqual(got, want)) throw new Error(`${JSON.stringify(got)}, not ${JSON.stringify(want)}`)
}
async function refused (options) {
  try {
    await (await Client.connect(options)).leave()
  } catch (err) {
    return err.code
  }
  throw new Error('it gets in')
}

const cases = {
  async qos () {
    for (const sub of [0, 1, 2]) {
      for (const pub of [0, 1, 2]) {
        const t = unique('qos')
        const s = await Client.connect()
        const p = await Client.connect()
        same((await s.subscribe(t, { qos: sub }))[0].qos, sub)
        await Promise.all(numbers(20).map((x) => p.publish(t, x, { qos: pub })))
        const got = await s.get(20)
        same(got.map((m) => m.text), numbers(20))
        same([...new Set(got.map((m) => m.packet.qos))], [Math.min(sub, pub)])
        await s.leave()
        await p.leave()
      }
    }
  },

  async session () {
    const t = unique('session')
    let s = await Client.connect({ expiry: 300 })
    same(s.present, false)
    await s.subscribe([`${t}/1`, `${t}/2`], { qos: 2 })
    await s.leave()
    const p = await Client.connect()
    for (const qos of [1, 2]) for (const x of numbers(50)) await p.publish(`${t}/${qos}`, x, { qos })
    s = await Client.connect({ clientId: s.id, clean: false, expiry: 300 })
    same(s.present, true)
    const got = await s.get(100)
    for (const qos of [1, 2]) same(got.filter((m) => m.packet.qos === qos).map((m) => m.text), numbers(50))
    await s.nothing()
    await s.leave()
    s = await Client.connect({ clientId: s.id })
    same(s.present, false)
    await s.leave()
    await p.leave()
  },

  async retained () {
    const t = unique('retained')
    const p = await Client.connect()
    for (const qos of [0, 1, 2]) await p.publish(`${t}/${qos}`, `r${qos}`, { qos, retain: true })
    let s = await Client.connect()
    await s.subscribe(`${t}/#`, { qos: 2 })
    const got = await s.get(3)
    same(got.map((m) => m.text).sort(), ['r0', 'r1', 'r2'])
    same(got.every((m) => m.packet.retain), true)
    for (const qos of [0, 1, 2]) await p.publish(`${t}/${qos}`, '', { qos, retain: true })
    same((await s.get(3)).every((m) => !m.packet.retain && m.text === ''), true)
    await s.leave()
    s = await Client.connect()
    await s.subscribe(`${t}/#`)
    await s.nothing()
    await s.leave()
    await p.leave()
  },

  async will () {
    const t = unique('will')
    const w = await Client.connect()
    await w.subscribe(t, { qos: 2 })
    for (const qos of [0, 1, 2]) {
      await (await Client.connect({ will: { topic: t, payload: Buffer.from('gone'), qos, retain: false } })).abort()
      const [m] = await w.get()
      same([m.text, m.packet.qos, m.packet.retain], ['gone', qos, false])
    }
    await (await Client.connect({ will: { topic: t, payload: Buffer.from('gone'), qos: 1, retain: false } })).leave()
    await w.nothing()
    await w.leave()
  },

  async unsubscribe () {
    const t = unique('unsub')
    const s = await Client.connect()
    await s.subscribe([`${t}/a`, `${t}/+`])
    await s.c.unsubscribeAsync(`${t}/+`)
    for (const x of ['a', 'b']) await s.publish(`${t}/${x}`, x)
    same(await s.texts(1), ['a'])
    await s.nothing()
    await s.leave()
  },

  async payloads () {
    const t = unique('large')
    const s = await Client.connect()
    await s.subscribe(t)
    for (const size of [0, 127, 128, 65536, 1 << 20, 4 << 20]) {
      const payload = Buffer.alloc(size, 7)
      await s.publish(t, payload)
      same((await s.get())[0].payload.equals(payload), true)
    }
    await s.leave()
  },

  async takeover () {
    const first = await Client.connect({ expiry: 300 })
    const t = unique('takeover')
    await first.subscribe(t)
    const second = await Client.connect({ clientId: first.id, clean: false, expiry: 300 })
    same(second.present, true)
    const last = await Promise.race([first.disconnect, first.ended])
    if (five) same(last?.reasonCode, 0x8e)
    await first.ended
    await second.publish(t, 'x')
    same(await second.texts(1), ['x'])
    await second.leave()
  },

  async login () {
    for (const options of [{ password: 'wrong' }, { user: 'nobody', password: 'x' }, { user: null, password: null }]) {
      const code = await refused(options)
      if (!(five ? [0x86, 0x87] : [4, 5]).includes(code)) throw new Error(`code ${code} for ${JSON.stringify(options)}`)
    }
  },

  async order () {
    const t = unique('order')
    const s = await Client.connect()
    const p = await Client.connect()
    await s.subscribe(t)
    await Promise.all(numbers(2000).map((x) => p.publish(t, x)))
    same(await s.texts(2000), numbers(2000))
    await s.leave()
    await p.leave()
  }
}

if (five) {
  Object.assign(cases, {
    async session_expiry () {
      let c = await Client.connect({ expiry: 1 })
      await c.leave()
      await sleep(3000)
      c = await Client.connect({ clientId: c.id, clean: false, expiry: 300 })
      same(c.present, false)
      await c.leave()
    },

    async will_delay () {
      const t = unique('late')
      const w = await Client.connect()
      await w.subscribe(t)
      const will = { topic: t, payload: Buffer.from('gone'), qos: 1, retain: false, properties: { willDelayInterval: 2 } }
      const c = await Client.connect({ expiry: 60, will })
      await c.abort()
      await w.nothing(1000)
      same(await w.texts(1), ['gone'])
      await w.leave()
    },

    async message_expiry () {
      const t = unique('expires')
      let s = await Client.connect({ expiry: 300 })
      await s.subscribe(t)
      await s.leave()
      const p = await Client.connect()
      await p.publish(t, 'brief', { qos: 1, properties: { messageExpiryInterval: 1 } })
      await p.publish(t, 'long', { qos: 1, properties: { messageExpiryInterval: 100 } })
      await sleep(3000)
      s = await Client.connect({ clientId: s.id, clean: false, expiry: 300 })
      same(await s.texts(1), ['long'])
      await s.nothing()
      await s.leave()
      await p.leave()
    },

    async receive_maximum () {
      const t = unique('window')
      const held = []
      const s = await Client.connect({
        properties: { receiveMaximum: 5 },
        customHandleAcks: (topic, message, packet, done) => { held.push(done) }
      })
      await s.subscribe(t)
      const p = await Client.connect()
      for (const x of numbers(30)) await p.publish(t, x)
      await sleep(quiet)
      // MQTT.js hands out one message after the other, so this counts what it has acknowledged rather than what waits in
      // the socket: all must come in order once it does.
      const drain = setInterval(() => { for (const done of held.splice(0)) done(0) }, 5)
      same(await s.texts(30), numbers(30))
      clearInterval(drain)
      await s.leave()
      await p.leave()
    },

    async shared () {
      const t = unique('shared')
      const members = await Promise.all([0, 1, 2].map(() => Client.connect()))
      for (const m of members) await m.subscribe(`$share/${t}/${t}/#`)
      const p = await Client.connect()
      for (const x of numbers(90)) await p.publish(`${t}/x`, x)
      await sleep(quiet)
      const got = members.flatMap((m) => m.messages.map((x) => Number(x.text))).sort((a, b) => a - b)
      same(got, numbers(90).map(Number))
      same(members.every((m) => m.messages.length > 0), true)
      for (const c of [...members, p]) await c.leave()
    },

    async properties () {
      const t = unique('props')
      const s = await Client.connect()
      await s.subscribe(t, { qos: 2 })
      const sent = {
        payloadFormatIndicator: true,
        contentType: 'text/plain',
        responseTopic: `${t}/answer`,
        correlationData: Buffer.from([0, 1]),
        userProperties: Object.assign(Object.create(null), { a: ['1', '3'], b: '2' })
      }
      for (const qos of [0, 1, 2]) {
        await s.publish(t, 'x', { qos, properties: sent })
        const { properties } = (await s.get())[0].packet
        same(JSON.stringify(properties.userProperties), JSON.stringify(sent.userProperties))
        same([properties.payloadFormatIndicator, properties.contentType, properties.responseTopic, [...properties.correlationData]],
          [true, 'text/plain', `${t}/answer`, [0, 1]])
      }
      await s.leave()
    },

    async no_local () {
      const t = unique('own')
      const c = await Client.connect()
      await c.subscribe(t, { qos: 1, nl: true })
      await c.publish(t, 'mine')
      await c.nothing()
      await c.leave()
    }
  })
}

for (const name of only.length ? only : Object.keys(cases)) {
  try {
    await Promise.race([cases[name](), sleep(60_000).then(() => { throw new Error('it does not end') })])
    console.log('ok', name)
  } catch (err) {
    console.log(`fail ${name}: ${String(err.message || err).replaceAll('\n', ' ')}`)
  }
}
process.exit(0) // connections that were broken on purpose may linger
