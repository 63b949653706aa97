'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { Certificates } = require('../support/certificates')
const { SentinelGroup, lockersByTest } = require('../support/sentinel')
const { rejection, until } = require('../support/until')

const scene = lockersByTest()

describe('sentinels with a password', () => {
  const credentials = { password: 'of the servers', sentinelPassword: 'of the sentinels' }
  let group

  beforeAll(async () => {
    // Words with spaces would have to be quoted in a configuration.
    for (const [option, secret] of Object.entries(credentials))
      credentials[option] = secret.replaceAll(' ', '-')
    group = await SentinelGroup.start(credentials)
  })

  afterAll(() => group.stop())

  it('get it, and the servers theirs', async () => {
    const locker = scene.newLocker({ ...group.config(), ...credentials })
    const lock = await locker.lock('resource')
    expect(await lock.unlock()).toBe(true)
    const failing = scene.newLocker({ ...group.config(), ...credentials, password: undefined })
    expect(await rejection(failing.lock('resource'))).toMatchObject({
      code: 'ERR_REDIS_NOAUTH',
      message: 'Redis wants a password: set config.password',
    })
  })

  it.each([
    [
      undefined,
      'ERR_REDIS_NOAUTH',
      /^The sentinel at 127.0.0.1:\d+ wants a password: set config.sentinelPassword$/,
    ],
    [
      'hunter2',
      'ERR_REDIS_WRONGPASS',
      /^The sentinel at \S+ does not accept the credentials: check config.sentinelUsername and config.sentinelPassword$/,
    ],
  ])('refuse %p at once, which names the options', async (sentinelPassword, code, message) => {
    const locker = scene.newLocker({ ...group.config(), ...credentials, sentinelPassword })
    const start = performance.now()
    const error = await rejection(locker.lock('resource'))
    expect(performance.now() - start).toBeLessThan(2000)
    expect(error.name).toBe('RedisError')
    expect(error.code).toBe(code)
    expect(error.message).toMatch(message)
    expect(`${error.message}${error.cause.message}`).not.toContain('hunter2')
  })

  it('can have users with no more rights than are documented', async () => {
    const docs = fs.readFileSync(path.join(__dirname, '../../docs/operating.md'), 'utf8')
    const rule = docs.match(/^ACL SETUSER locks .*$/m)[0].split(' ')
    await Promise.all(group.sentinels.map((sentinel) => sentinel.call(...rule)))
    const config = { ...group.config(group.sentinels.slice(0, 1)), password: credentials.password }
    const user = { sentinelUsername: 'locks', sentinelPassword: 'password' }
    const locker = scene.newLocker({ ...config, ...user })
    await (await locker.lock('resource')).unlock()
    const subscribers = () => Promise.all(group.sentinels.map((sentinel) => sentinel.subscribers()))
    await until(async () => String(await subscribers()) === '1,1,1', 'all sentinels are observed')
    await Promise.all(
      group.sentinels.map((sentinel) => sentinel.call('ACL', 'SETUSER', 'locks', '-sentinel')),
    )
    const error = await rejection(scene.newLocker({ ...config, ...user, db: 1 }).lock('resource'))
    expect(error.code).toBe('ERR_REDIS_NOPERM')
    expect(error.message).toMatch(
      /^The user of the sentinel at \S+ may not run what it is asked: its ACL must allow/,
    )
  })

  it('fail over', async () => {
    const locker = scene.newLocker({ ...group.config(), ...credentials })
    const lock = await locker.lock('resource', { renew: true, expire: 30 })
    const primary = await group.primary()
    await group.replicated(primary)
    await primary.kill()
    await (await locker.lock('other')).unlock()
    expect(await lock.unlock()).toBe(true)
  })
})

describe('sentinels and servers with TLS', () => {
  const certificates = new Certificates()
  const root = certificates.issue({ subject: '/CN=root', extensions: ['basicConstraints=critical,CA:TRUE'] })
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-sentinel-tls-'))
  let group

  const write = (name, pem) => {
    const file = path.join(folder, name)
    fs.writeFileSync(file, pem)
    return file
  }

  beforeAll(async () => {
    const leaf = certificates.issue({ issuer: root, extensions: ['subjectAltName=IP:127.0.0.1'] })
    const files = {
      cert: write('cert.pem', leaf.cert),
      key: write('key.pem', leaf.key),
      ca: write('ca.pem', root.cert),
    }
    group = await SentinelGroup.start({ tls: files })
  })

  afterAll(async () => {
    await group.stop()
    certificates.remove()
    fs.rmSync(folder, { recursive: true })
  })

  it('are reached, each by the certificate of its own host', async () => {
    const tls = { ca: root.cert }
    const locker = scene.newLocker({ ...group.config(group.sentinels.slice(0, 1)), tls, sentinelTls: tls })
    const lock = await locker.lock('resource', { renew: true, expire: 30 })
    const subscribers = () => Promise.all(group.sentinels.map((sentinel) => sentinel.subscribers()))
    // Also those that are learned of.
    await until(async () => String(await subscribers()) === '1,1,1', 'all sentinels are observed')
    const primary = await group.primary()
    await group.replicated(primary)
    await primary.kill()
    await (await locker.lock('other')).unlock()
    expect(await lock.unlock()).toBe(true)
  })

  it.each([
    ['not trusted', {}, /self-signed|SELF_SIGNED|issuer/i],
    ['of another name', { ca: root.cert, servername: 'other.example' }, /is not for other.example/],
  ])('are refused at once if they are %s', async (_, sentinelTls, what) => {
    const locker = scene.newLocker({ ...group.config(), tls: { ca: root.cert }, sentinelTls })
    const start = performance.now()
    const error = await rejection(locker.lock('resource'))
    expect(performance.now() - start).toBeLessThan(2000)
    expect(error).toMatchObject({ name: 'ConnectionError', code: 'ERR_CONNECTION' })
    expect(error.message).toMatch(/the sentinel at 127.0.0.1:\d+, where config.sentinelTls counts: /)
    expect(error.message).toMatch(what)
  })

  it('do not answer a link that speaks none', async () => {
    const locker = scene.newLocker({ ...group.config(), settings: { commandTimeout: 1500 } })
    const error = await rejection(locker.lock('resource'))
    expect(error.code).toBe('ERR_CONNECTION')
    expect(error.message).toMatch(/no sentinel of 3 could be reached: .*; if it expects TLS on this port/)
  })
})
