'use strict'

/** How those who wait, and those who lose a lock, hear of it. */
const subject = {
  name: 'messages',
  findings: {
    same: { level: 'ok' },
    second: {
      level: 'note',
      means:
        'A locker has two connections to this server, one of them for messages alone. Nothing else is different.',
      todo: 'Nothing. A proxy or a service that knows HELLO would save a connection.',
    },
    none: {
      level: 'warning',
      means:
        'Whoever waits for a lock has to ask again and again (options.retryInterval), and whoever loses one to a purge or a forced unlock learns it late.',
      todo: 'Let the user SUBSCRIBE to its channels: the finding about rights has the line.',
    },
  },

  /** @param {import('../server').Server} server @param {any} tell */
  async examine(server, tell) {
    const { isResp3, isSubscribed } = await server.ask([])
    if (!isSubscribed) tell('none', 'No messages: the server has refused SUBSCRIBE')
    else if (isResp3) tell('same', 'Messages come, over RESP3 on the same connection')
    else tell('second', 'Messages come, over RESP2 on a second connection, as the server has refused HELLO 3')
  },
}

module.exports = subject
