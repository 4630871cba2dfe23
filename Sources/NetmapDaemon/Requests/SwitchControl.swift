internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// Requests about switches (`vale-ctl`). The control thread decides them. The server arranges with
// the worker to carry the packets of interfaces.

/// A network interface on a switch, whose packets the worker carries.
struct CarriedInterface {
  let made: InterfaceOnSwitch
  let link: InterfaceLink
  let namespace: NamespaceFile?
  /// The request that waits for the interface to be detached.
  var leaving: (ticket: UInt64, decided: ControlThread.Switched)?
}

extension Server {
  /// Passes a request about switches to the control thread.
  func control(
    _ message: Message, _ arrival: Arrival, from client: Client, _ reply: PeerSocket
  ) {
    decide(client, reply) { [self] (ticket) throws(NetmapError) in
      var body = message.body
      let request = try body.takeSwitchRequest()
      if case .module(let vale, .choose(let choice)) = request,
        case .loaded = choice
      {
        // The server answers this request when the module works.
        try choice.check()
        guard settings.allowsModules else { throw HostProcess.turnedOff }
        // Pass no other kind of file to the opener.
        let seal = arrival.files.dropFirst().first {
          clinux_is_message_socket($0.descriptor) != 0
        }
        loading[ticket] = LoadRequest(vale: vale, choice: choice, sealed: seal)
        return control.put(.findSwitch(ticket: ticket, vale))
      }
      control.put(
        .switching(ticket: ticket, request, try namespace(of: arrival), carrier: isolation.tag))
    }
  }

  /// Starts the worker for a request to attach an interface.
  func carry(_ request: SwitchRequest, _ ticket: UInt64, in namespace: NamespaceFile?) {
    do throws(NetmapError) {
      try isolation.attach(ticket: ticket, request, in: namespace)
    } catch {
      finish(ticket, error)
    }
  }

  /// Carries out the control thread's decision about a request, and answers the request.
  func complete(
    _ ticket: UInt64, _ result: Result<ControlThread.Switched, NetmapError>
  ) {
    guard pending[ticket] != nil else { return }
    do throws(NetmapError) {
      let decided = try result.get()
      guard let answer = try carryOut(decided, ticket) else { return }
      if decided.request.isChange {
        for serial in Set(bindings.values.compactMap(\.vale)) { tellNeighbours(on: serial) }
      }
      finish(ticket, (Message.bytes(.done) { $0.put(answer) }, []))
    } catch {
      finish(ticket, error)
    }
  }

  /// - Returns: The answer; nil when the answer comes later.
  private func carryOut(
    _ decided: ControlThread.Switched, _ ticket: UInt64
  ) throws(NetmapError) -> SwitchAnswer? {
    switch decided.outcome {
    case .done(let answer):
      switch decided.request {
      case .attach(let request): log.info("attached", metadata: ["port": "\(request.name)"])
      case .detach(let name): log.info("detached", metadata: ["port": "\(name)"])
      default: break
      }
      return answer
    case .attached(let made):
      do throws(NetmapError) {
        try carry(made, decided)
        return made.answer
      } catch {
        control.put(.endInterface(made.name, decided.namespace))
        throw error
      }
    case .detaches(let name, let answer):
      let finished = ControlThread.Switched(
        request: decided.request, outcome: .done(answer), namespace: nil)
      guard let link = interfaces[name]?.link else {
        // The interface has gone meanwhile. The job that ends it was put before this one.
        control.put(.finish(ticket: ticket, finished))
        return nil
      }
      interfaces[name]?.leaving = (ticket, finished)
      link.close()
      return nil
    case .polls(let name, let cpus, let answer):
      do throws(NetmapError) {
        if let cpus { try interfaces[name]?.link.poll(on: cpus) }
      } catch {
        control.put(.forgetPolling(name))
        throw error
      }
      if cpus == nil { interfaces[name]?.link.stopPolling() }
      log.info(
        "polling", metadata: ["port": "\(name)", "cpus": "\(cpus.map { "\($0)" } ?? "none")"])
      return answer
    }
  }

  /// Has the worker carry the packets of an interface, and tells all clients on the switch.
  private func carry(
    _ made: InterfaceOnSwitch, _ decided: ControlThread.Switched
  ) throws(NetmapError) {
    guard let service = isolation.current else {
      throw NetmapError(
        .notFound, "attach", made.name.rawValue, reason: "netmapd has no worker",
        remedy: "try again")
    }
    let tag = service.connection.tag
    let ports = made.ports.map { ($0, NamespaceFile?.none) }
    for (registration, namespace) in ports + [(made.interface, decided.namespace)] {
      let binding = OpenBinding(
        registration, in: namespace, process: getpid(), tokenKey: 0, viewer: tag)
      binding.attachedAs = made.name
      bindings[registration.id] = binding
      clients[tag.slot]?.seen.insert(registration.id)
    }
    if let serial = made.port.place?.serial { tellNeighbours(on: serial) }
    var pairs: [InterfaceLink.Pair] = []
    do throws(NetmapError) {
      for (index, lane) in decided.lanes.enumerated() {
        let facing = made.facing(index)
        let port = unsafe try service.connection.mapPort(facing.port, lane: facing.lane)
        pairs.append(InterfaceLink.Pair(interface: lane, port: port))
      }
      let link = try InterfaceLink(pairs, worker: service.worker) { [control] in
        control.answer(0, .interfaceEnded(made.name))
      }
      interfaces[made.name] = CarriedInterface(
        made: made, link: link, namespace: decided.namespace)
      try link.start()
    } catch {
      for lane in pairs.indices { service.connection.leave(made.facing(lane).port) }
      forget(made)
      throw error
    }
    note(made.interface)
    log.info(
      "attached",
      metadata: [
        "port": "\(made.name)",
        "backend": "\(made.interface.backend.map { "\($0.name) \($0.mode)" } ?? "none")",
      ])
  }

  /// Ends an interface on a switch after the worker has stopped carrying its packets: the interface
  /// was detached or has gone.
  func endInterface(_ name: PortName) {
    guard let carried = interfaces[name] else { return }
    if let connection = isolation.current?.connection {
      for lane in 0..<carried.made.lanes { connection.leave(carried.made.facing(lane).port) }
    }
    forget(carried.made)
    control.put(.endInterface(name, carried.namespace))
    guard let leaving = carried.leaving else {
      return log.notice("an interface on a switch was removed", metadata: ["port": "\(name)"])
    }
    control.put(.finish(ticket: leaving.ticket, leaving.decided))
  }

  private func forget(_ made: InterfaceOnSwitch) {
    interfaces[made.name] = nil
    for id in made.ports.map(\.id) + [made.interface.id] {
      bindings[id] = nil
      if let tag = isolation.tag { clients[tag.slot]?.seen.remove(id) }
    }
  }
}
