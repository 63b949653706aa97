'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { Certificates } = require('../support/certificates')
const { clusterScene } = require('../support/cluster-scene')
const { freePort } = require('../support/redis-server')
const { introduced } = require('../support/scene')
const { rejection } = require('../support/until')

const host = '127.0.0.1'

// What config says of the connection is meant for each node: user, password, TLS.
describe('a cluster with users and TLS', () => {
  const certificates = new Certificates()
  const root = certificates.issue({ subject: '/CN=root', extensions: ['basicConstraints=critical,CA:TRUE'] })
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lock-inc-cluster-tls-'))
  const ports = []

  /** Each has a certificate for the address that the cluster has for it; the first one also for another name. */
  const filesOf = (index) => {
    const names = index === 0 ? 'IP:127.0.0.1,DNS:localhost' : 'IP:127.0.0.1'
    const leaf = certificates.issue({ issuer: root, extensions: [`subjectAltName=${names}`] })
    const files = { 'cert-file': leaf.cert, 'key-file': leaf.key, 'ca-cert-file': root.cert }
    return Object.entries(files).flatMap(([name, pem]) => {
      const file = path.join(folder, `${index}-${name}`)
      fs.writeFileSync(file, pem)
      return [`--tls-${name}`, file]
    })
  }

  const scene = clusterScene({
    replicas: 0,
    async argsOf(index, port) {
      ports[index] = await freePort()
      return [
        ...['--tls-port', ports[index], '--tls-cluster', 'yes', '--cluster-port', port + 10_000],
        ...['--tls-auth-clients', 'no', ...filesOf(index)],
        ...['--user', 'locks', 'on', '>secret', '~*', '&*', '+@all'],
      ]
    },
  })

  afterAll(() => {
    certificates.remove()
    fs.rmSync(folder, { recursive: true })
  })

  const tls = { ca: root.cert }
  const credentials = { username: 'locks', password: 'secret' }
  const seed = (name) => ({ nodes: [{ host: name, port: ports[0] }], tls, ...credentials })
  const oneOnEach = async () => {
    const primaries = await scene.cluster.primaries()
    return Promise.all(primaries.map(async ({ node }) => (await scene.namesOn(node, 1))[0]))
  }

  it.each([host, 'localhost'])(
    'has the certificate of each host at each node, with %s as the seed',
    async (name) => {
      const locker = scene.newLocker(seed(name))
      for (const name of await oneOnEach()) expect(await (await locker.lock(name)).unlock()).toBe(true)
      for (const node of scene.cluster.nodes) {
        expect(await node.call('CLIENT', 'LIST')).toMatch(/name=lock-inc:.* user=locks /)
      }
    },
  )

  it('moves slots, to where the same holds', async () => {
    const [locker, watcher] = [scene.newLocker(seed(host)), scene.newLocker(seed(host))]
    const [name] = await oneOnEach()
    const from = await scene.nodeOf(name)
    const to = scene.cluster.nodes.find((node) => node !== from)
    const lock = await locker.lock(name, { renew: true })
    await introduced(watcher, name)
    await scene.cluster.moveSlot(scene.slot(name), to)
    expect(await watcher.isLocked(name)).toBe(true)
    expect(await lock.unlock()).toBe(true)
  })

  it('refuses who has another name, and who has no right', async () => {
    const settings = { commandTimeout: 3000 }
    const named = { ...seed(host), tls: { ...tls, servername: 'elsewhere' }, settings }
    expect(await rejection(scene.newLocker(named).lock('resource'))).toMatchObject({
      code: 'ERR_CONNECTION',
      cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    })
    const wrong = { ...seed(host), password: 'hunter2', settings }
    const error = await rejection(scene.newLocker(wrong).lock('resource'))
    expect(error.code).toBe('ERR_REDIS_WRONGPASS')
    expect(`${error.message}${error.cause.message}`).not.toContain('hunter2')
  })
})
