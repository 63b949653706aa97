'use strict'

const { Cluster } = require('../support/cluster')
const { findings } = require('../support/doctor')
const { GROUP, SentinelGroup } = require('../support/sentinel')

const listed = (nodes) => nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')

it('the doctor asks each sentinel, and tells of those that are away', async () => {
  const group = await SentinelGroup.start({ replicas: 1 })
  try {
    const args = ['--sentinels', listed(group.sentinels), '--name', GROUP]
    const well = await findings(args)
    expect(well.code).toBe(0)
    expect(well.codes).toEqual(expect.arrayContaining(['sentinels-agree', 'replicas-follow', 'locks-work']))
    expect(well.report.sentinels).toHaveLength(3)
    await group.sentinels[0].call('SENTINEL', 'SET', GROUP, 'quorum', 4)
    expect((await findings(args)).byCode['sentinels-quorum'].level).toBe('problem')
    for (const sentinel of group.sentinels.slice(1)) await sentinel.kill()
    const { code, byCode } = await findings(args)
    expect([code, byCode['sentinels-minority'].level]).toEqual([1, 'problem'])
    expect(byCode['sentinels-away'].found).toMatch(/refused/)
  } finally {
    await group.stop()
  }
})

it('the doctor asks each primary of a cluster, and tells of those without replicas', async () => {
  const cluster = await Cluster.start({ primaries: 3, replicas: 0 })
  try {
    const { code, codes, report } = await findings(['--nodes', listed(cluster.nodes.slice(0, 1))])
    expect(code).toBe(0)
    expect(report.servers).toHaveLength(3)
    const of = (code) => report.findings.filter((finding) => finding.code === code)
    expect([of('rights-all').length, of('cluster-bare').length]).toEqual([3, 3])
    expect(codes).toEqual(expect.arrayContaining(['cluster-whole', 'cluster-coverage', 'locks-work']))
  } finally {
    await cluster.stop()
  }
})
