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

  /// Adds the server's own records to the engine's dump.
  ///
  /// The server knows each binding of the dump, because it has handled the answers that came before this one. A dump has a
  /// copy of all krings and slots, so the control thread encodes it: other clients get their answers meanwhile.
  func hasDumped(_ ticket: UInt64, _ result: Result<CollectedDump, NetmapError>) {
    do throws(NetmapError) {
      let owners = bindings.sorted { $0.key.number < $1.key.number }.map { owner($0, $1) }
      control.put(.encode(ticket: ticket, try result.get(), owners: owners))
    } catch {
      finish(ticket, error)
    }
  }

  /// Sends a dump in memory of its own: it is longer than a message.
  func hasEncoded(_ ticket: UInt64, _ result: Result<OwnedFile, NetmapError>) {
    do throws(NetmapError) {
      let memory = try result.get()
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
