internal import NetmapClient
internal import NetmapCore

// The answer for `netmap ports --write-dump`.

extension Server {
  /// Starts a dump of the memory that describes all ports.
  func dump(for client: Client, _ reply: PeerSocket) {
    decide(client, reply) { [control] (ticket) throws(NetmapError) in
      control.put(.dump(ticket: ticket))
    }
  }

  /// Adds the server's own records to the engine's dump, and sends both in memory of their own: a dump is longer than a
  /// message.
  func hasDumped(_ ticket: UInt64, _ result: Result<EngineDump, NetmapError>) {
    do throws(NetmapError) {
      var dump = try result.get()
      dump.owners = bindings.sorted { $0.key.number < $1.key.number }.map { owner($0, $1) }
      let bytes = dump.bytes
      let memory = try SharedMemory(creating: "netmap-dump", byteCount: 8 + bytes.count)
      memory.write(DumpedBytes.header(bytes.count), at: 0)
      memory.write(bytes, at: 8)
      finish(ticket, (Message.bytes(.done), [memory.descriptor]))
      withExtendedLifetime(memory) {}
    } catch {
      finish(ticket, error)
    }
  }

  private func owner(_ id: BindingID, _ binding: OpenBinding) -> EngineDump.Owner {
    EngineDump.Owner(
      binding: id.number, user: binding.user, isOpen: binding.isOpen,
      isIsolated: binding.link != nil || binding.outside != nil,
      isHidden: binding.isHidden || binding.attachedAs != nil, opener: binding.process,
      viewers: binding.viewers.compactMap { clients[$0.slot]?.process }.sorted())
  }
}
