internal import Logging
internal import NetmapClient
internal import NetmapCore

// Every process with a port on a switch may have to write into the memory of every other port there, and
// to wake whoever waits for it.

extension Server {
  /// Tells everybody on a switch who is there now, and how to wake them.
  func tellNeighbours(on serial: UInt64) {
    let everybody = clients(on: serial)
    let ports = engine.neighbours(on: serial)
    // Who has left knows ports that it need not keep mapped.
    let former = clients.values.filter { $0.neighbours[serial] != nil }
    var waiting = Set<Int>()
    for client in everybody {
      for other in everybody where client.learn(other) { waiting.insert(client.tag.slot) }
      if client.learn(ports, on: serial) { waiting.insert(client.tag.slot) }
    }
    for client in former where !everybody.contains(where: { $0 === client }) {
      if client.learn([], on: serial) { waiting.insert(client.tag.slot) }
    }
    for slot in waiting {
      guard let client = clients[slot] else { continue }
      queue.watch(client.mailbox.descriptor, key: client.mailboxKey, writing: true)
    }
  }

  /// Processes that have a port on a switch.
  func clients(on serial: UInt64) -> [Client] {
    let slots = Set(
      bindings.values.filter { $0.bridge == serial }.flatMap { $0.viewers.map(\.slot) })
    return slots.compactMap { clients[$0] }
  }

  /// Has everybody on the switches of a client that died look again: it may have taken a sleeper's
  /// announcement and not lived to ring, or its unfinished slots may have been finished for it.
  func wakeNeighbours(of serials: Set<UInt64>) {
    for serial in serials {
      for client in clients(on: serial) { client.ring() }
      for binding in bindings.values where binding.bridge == serial { binding.ring() }
    }
  }
}
