internal import Logging
internal import NetmapClient
internal import NetmapCore

// Introducing processes to each other.
//
// A process with a port on a switch may have to write into the memory of every other port there,
// and to wake the processes that sleep on these ports. Processes that share a port, or have the two
// ends of a pipe or of a veth, wake each other.

extension Server {
  /// Introduces a client to all clients of a port before the client gets the port: each learns the
  /// doorbells of the others.
  ///
  /// A client of an isolated port learns only the worker's doorbell. The port's own table names the
  /// clients that the worker may wake (``admit(_:to:)``).
  func introduce(_ client: Client, to segment: ObjectIdentifier) {
    let isIsolated = bindings.values.contains { $0.segment == segment && $0.outside != nil }
    for other in viewers(of: segment) + viewersBehindShortCut(of: segment) where other !== client {
      if !isIsolated {
        introduce(client, other)
      } else if other.role == .own {
        tell(client, of: other)
      }
    }
  }

  private func introduce(_ one: Client, _ other: Client) {
    tell(one, of: other)
    tell(other, of: one)
  }

  private func tell(_ learner: Client, of known: Client) {
    guard !learner.hasHungUp else { return }
    learner.mail.introduce(known.tag)
    if !learner.mail.isEmpty { post(to: learner) }
  }

  func viewers(of segment: ObjectIdentifier) -> [Client] {
    let slots = Set(
      bindings.values.filter { $0.segment == segment }.flatMap { $0.viewers.map(\.slot) })
    return slots.compactMap { clients[$0] }
  }

  /// The clients of the port at the other end of a veth, if that and the port of `segment` may move packets to each
  /// other by shared memory.
  private func viewersBehindShortCut(of segment: ObjectIdentifier) -> [Client] {
    let memories = bindings.values.filter { $0.segment == segment }.compactMap(\.sharedMemory)
    guard let memory = memories.first else { return [] }
    let others = Set(bindings.values.filter { $0.sharedMemory == memory }.map(\.segment))
    return others.filter { $0 != segment }.flatMap { viewers(of: $0) }
  }

  /// Tells all clients on a switch which ports it has now, and how to wake their processes.
  func tellNeighbours(on serial: UInt64) {
    let everybody = clients(on: serial)
    let ports = control.neighbours(on: serial).mapValues(\.generation)
    let known = switches[serial] ?? KnownSwitch()
    switches[serial] =
      everybody.isEmpty
      ? nil : KnownSwitch(clients: Set(everybody.map(\.tag)), ports: ports)
    for client in everybody where !known.clients.contains(client.tag) {
      for other in everybody where other !== client { introduce(client, other) }
      client.switches.insert(serial)
      client.mail.note(ports.keys, on: serial)
    }
    // Clients that have left the switch can unmap its ports.
    for client in clients.values where client.switches.contains(serial) {
      guard switches[serial]?.clients.contains(client.tag) != true else { continue }
      client.switches.remove(serial)
      client.mail.leave(serial)
      post(to: client)
    }
    let changes = Set(ports.keys).union(known.ports.keys).filter { ports[$0] != known.ports[$0] }
    for client in everybody where !client.hasHungUp {
      if known.clients.contains(client.tag) { client.mail.note(changes, on: serial) }
      if !client.mail.isEmpty { post(to: client) }
    }
  }

  /// Whether there are monitors of a set, or clients that know of monitors there were.
  func knowsMonitors(of set: UInt64) -> Bool {
    switches[set] != nil || !control.neighbours(on: set).isEmpty
  }

  /// Tells the clients of a port about its monitors, and those of a monitor how to be woken, after one of them has got or
  /// lost the port.
  func tellMonitors(of binding: OpenBinding) {
    for set in binding.sets where knowsMonitors(of: set) { tellNeighbours(on: set) }
  }

  /// Sends a client the memory of a port, or of a monitor, again, if the client was told of it.
  ///
  /// A client that asks without need gets one message with two descriptors for each request, as far as it receives its
  /// mail (``UnreadFiles``).
  func tellAgain(_ client: Client, of index: Int, on serial: UInt64) {
    client.mail.hasNotGot(index, on: serial)
    if !client.hasHungUp, !client.mail.isEmpty { post(to: client) }
  }

  /// The clients that have a port on a switch, or a port whose monitors are in a set, or such a monitor.
  func clients(on serial: UInt64) -> [Client] {
    let slots = Set(
      bindings.values.filter { $0.isOn(serial) }.flatMap { $0.viewers.map(\.slot) })
    return slots.compactMap { clients[$0] }
  }

  /// Wakes all clients on the switches of a client that died.
  ///
  /// The dead client may have taken a sleeper's announcement without ringing its doorbell, or the
  /// control thread may have finished slots for it.
  func wakeNeighbours(of serials: Set<UInt64>) {
    for serial in serials {
      for client in clients(on: serial) { client.ring() }
      for binding in bindings.values where binding.isOn(serial) { binding.ring() }
    }
  }
}

/// The state of a switch that its clients were told last.
struct KnownSwitch {
  /// The clients on the switch, which know each other's doorbells.
  var clients: Set<ClientTag> = []
  /// The generations of the ports, by index.
  var ports: [Int: UInt32] = [:]
}
