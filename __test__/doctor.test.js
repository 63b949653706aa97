'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { rights } = require('../lib/doctor/rights')
const { connection, ofAll, ofEachServer } = require('../lib/doctor/subjects')
const { doctor, findings } = require('./support/doctor')
const { Replicated } = require('./support/replicas')
const { SERVERS, freePort, startRedis } = require('./support/redis-server')

const root = path.join(__dirname, '..')
const protocol = fs.readFileSync(path.join(root, 'docs/protocol.md'), 'utf8')
const rule = protocol.match(/^ACL SETUSER locks .*$/m)[0].split(' ')

const to = (port) => ['--url', `redis://127.0.0.1:${port}`]

describe('the table of rights', () => {
  it('has what the docs have', () => {
    const documented = rule.filter((word) => word.startsWith('+')).map((word) => word.slice(1))
    const alone = ['cluster', 'replicas']
    const known = rights.filter(({ need }) => !alone.includes(need)).map((right) => right.rule)
    expect(known.sort()).toEqual(documented.sort())
    for (const { rule } of rights) expect(protocol.toUpperCase()).toContain(rule.split('|')[0].toUpperCase())
  })
})

describe('the docs', () => {
  it('have each finding with its level, and no other', () => {
    const docs = fs.readFileSync(path.join(root, 'docs/doctor.md'), 'utf8')
    const rows = [...docs.matchAll(/^\| `([\w-]+)` \| (\w+) \|/gm)].map(
      ([, code, level]) => `${code} ${level}`,
    )
    const known = [connection, ...ofEachServer, ...ofAll].flatMap(({ name, findings }) =>
      Object.entries(findings).map(([key, { level }]) => `${name}-${key} ${level}`),
    )
    expect(rows.sort()).toEqual(
      [...known, 'SUBJECT-unseen note'].map((row) => row.replace('SUBJECT', 'subject')).sort(),
    )
  })
})

describe.each(SERVERS)('the doctor at %s', (name) => {
  let server
  beforeAll(async () => {
    server = await startRedis({ name })
  })
  afterAll(() => server.stop())

  it('finds no problem with a server that is well, and leaves no lock behind', async () => {
    const { code, byCode } = await findings(to(server.port))
    for (const good of [
      'server-known',
      'messages-same',
      'rights-all',
      'eviction-never',
      'locks-work',
      'clock-same',
    ])
      expect(byCode[good]?.level).toBe('ok')
    expect(code).toBe(0)
    expect(await server.keys('lock:*')).toEqual(['lock:fence'])
  })

  it.each([
    ['+@all', 'the server is asked'],
    ['-acl', 'each command is tried'],
  ])('with %s names the rights that are missing, and the line that gives them', async (more) => {
    await server.call(...rule, '+info', '+acl', more, '-zpopmin', '-publish', '-multi')
    const env = { LOCK_INC_PASSWORD: 'secret' }
    const { code, byCode } = await findings([...to(server.port), '--username', 'locks'], env)
    expect(code).toBe(1)
    expect(byCode['rights-missing']).toMatchObject({ level: 'problem', todo: 'ACL SETUSER locks +zpopmin' })
    expect(byCode['rights-useful']).toMatchObject({ level: 'warning', todo: 'ACL SETUSER locks +publish' })
    expect(byCode['rights-spare']).toMatchObject({ level: 'note', todo: 'ACL SETUSER locks +multi' })
    expect(byCode['locks-refused']).toMatchObject({ level: 'problem', error: 'ERR_REDIS_NOPERM' })
    // What was told is what it takes.
    for (const need of ['missing', 'useful', 'spare'])
      await server.call(...byCode[`rights-${need}`].todo.split(' '))
    const healed = await findings([...to(server.port), '--username', 'locks'], env)
    expect(healed.codes).toEqual(expect.arrayContaining(['rights-all', 'locks-work']))
    expect(healed.code).toBe(0)
  })

  it('tells keys and channels that are missing from commands', async () => {
    await server.call(
      'ACL',
      'SETUSER',
      'other',
      'reset',
      'on',
      '>secret',
      'resetchannels',
      '~other:*',
      '&other:*',
      '+@all',
    )
    const env = { LOCK_INC_PASSWORD: 'secret' }
    const { byCode } = await findings([...to(server.port), '--username', 'other'], env)
    expect(byCode['rights-missing'].todo).toBe('ACL SETUSER other ~lock:*')
    expect(byCode['rights-useful'].todo).toMatch(/&lock:client:\*/)
    expect(byCode['messages-none'].level).toBe('warning')
  })

  it('tells what a user may not see, and finds no problem in that', async () => {
    await server.call(...rule, 'resetkeys', '~lock:*')
    const env = { LOCK_INC_PASSWORD: 'secret' }
    const { code, byCode } = await findings([...to(server.port), '--username', 'locks'], env)
    for (const subject of ['eviction', 'persistence', 'replicas'])
      expect(byCode[`${subject}-unseen`].found).toMatch(/^could not be seen: INFO was refused \(NOPERM/)
    expect(byCode['locks-work'].level).toBe('ok')
    expect(code).toBe(0)
  })

  it('finds a policy that evicts locks', async () => {
    const set = (policy, limit) =>
      Promise.all([
        server.call('CONFIG', 'SET', 'maxmemory-policy', policy),
        server.call('CONFIG', 'SET', 'maxmemory', limit),
      ])
    await set('volatile-lru', '100mb')
    const { code, byCode } = await findings(to(server.port))
    await set('allkeys-lru', 0)
    const unlimited = await findings(to(server.port))
    await set('noeviction', 0)
    expect([code, byCode['eviction-on'].level]).toEqual([1, 'problem'])
    expect([unlimited.code, unlimited.byCode['eviction-idle'].level]).toEqual([0, 'note'])
  })
})

describe('the doctor', () => {
  it('finds a replica, and a primary that demands more replicas than it has', async () => {
    const set = await Replicated.start({ count: 1 })
    try {
      const replica = await findings(to(set.replicas[0].port))
      expect([replica.code, replica.byCode['server-replica'].level]).toEqual([1, 'problem'])
      expect(replica.codes).not.toContain('locks-refused')
      const primary = await findings(to(set.primary.port))
      expect(primary.codes).toEqual(
        expect.arrayContaining(['replicas-follow', 'persistence-emptying', 'locks-work']),
      )
      await set.primary.call('CONFIG', 'SET', 'min-replicas-to-write', 2)
      const few = await findings(to(set.primary.port))
      expect([few.code, few.byCode['replicas-few'].level]).toEqual([1, 'problem'])
      expect(few.byCode['locks-refused'].error).toBe('ERR_REDIS_NOREPLICAS')
    } finally {
      await set.stop()
    }
  })

  it('finds a node of a cluster that it was not told of', async () => {
    const server = await startRedis({ args: ['--cluster-enabled', 'yes'] })
    try {
      const { code, byCode } = await findings(to(server.port))
      expect([code, byCode['cluster-unnamed'].level]).toEqual([1, 'problem'])
    } finally {
      await server.stop()
    }
  })

  it('says in its time that there is nobody, and that a server stands still', async () => {
    const away = await findings(to(await freePort()))
    expect([away.code, away.report.reached]).toEqual([69, false])
    expect(away.byCode['connection-none'].found).toMatch(
      /could not be reached within 2000 ms .*ECONNREFUSED|refused/i,
    )
    const server = await startRedis()
    try {
      process.kill(server.pid, 'SIGSTOP')
      const { code, codes, byCode } = await findings(to(server.port))
      expect([code, codes]).toEqual([69, ['connection-none']])
      expect(byCode['connection-none'].error).toBe('ERR_CONNECTION')
    } finally {
      process.kill(server.pid, 'SIGCONT')
      await server.stop()
    }
  })

  it('shows what it has found, and what to do', async () => {
    const server = await startRedis({ args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'] })
    try {
      const { code, stdout, stderr } = await doctor(to(server.port))
      expect([code, stderr]).toEqual([1, ''])
      expect(stdout).toMatch(/^Redis at 127.0.0.1:\d+\n {2}ok {7}Redis [\d.]+, a primary \[server-known\]\n/)
      expect(stdout).toMatch(
        /problem {2}maxmemory-policy is allkeys-lru.*\[eviction-on\]\n {11}At its limit.*\n {11}To do: CONFIG SET/,
      )
      expect(stdout).toMatch(/\n1 problem\n$/)
    } finally {
      await server.stop()
    }
  })
})
