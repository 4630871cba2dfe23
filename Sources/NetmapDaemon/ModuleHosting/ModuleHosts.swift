internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// Modules from shared objects. The daemon loads none of them: each runs in a process of its own, with the
// rights of the user who asked for it, and is ended when it does not get on.

extension Server {
  /// The switch of a module that is to be loaded has been found, or not: its process is started.
  func loadModule(_ ticket: UInt64, _ result: Result<UInt64, NetmapError>) {
    guard let load = loading[ticket], let request = pending[ticket] else { return }
    do throws(NetmapError) {
      let serial = try result.get()
      guard let client = clients[request.client.slot], client.tag == request.client else {
        throw NetmapError(.badDescriptor, "load", load.bridge, reason: "the process has gone")
      }
      try HostProcess.checkRoom(
        beside: hosts.values.map(\.started.user), for: client.user, load.bridge)
      loading[ticket]?.serial = serial
      guard let opener = settings.opener else {
        let order = HostProcess.Order(
          bridge: load.bridge, choice: load.choice, user: client.user, group: client.group)
        return begin(ticket, .success(try HostProcess(order, address)))
      }
      guard let sealed = load.sealed else {
        throw NetmapError(
          .invalidArgument, "load", load.bridge, reason: "the request has come without its seal",
          remedy: "use one version of netmap for all processes")
      }
      // The opener may be busy opening an interface.
      let user = client.user
      closer.run(for: DaemonUser.own) { [control] in
        let result: Result<HostProcess, NetmapError>
        do throws(NetmapError) {
          result = .success(try opener.startHost(sealed.descriptor, for: user))
        } catch {
          result = .failure(error)
        }
        control.answer(ticket, .hostStarted(result))
      }
    } catch {
      loading[ticket] = nil
      finish(ticket, error)
    }
  }

  /// The process that is to run a module has been started, or not.
  func begin(_ ticket: UInt64, _ result: Result<HostProcess, NetmapError>) {
    guard let load = loading.removeValue(forKey: ticket) else { return }
    do throws(NetmapError) {
      let started = try result.get()
      guard pending[ticket] != nil, let serial = load.serial else { return end(started) }
      let host = try enter(started, load, serial, ticket)
      log.info(
        "module starts",
        metadata: [
          "switch": "\(load.bridge)", "path": "\(load.choice.name)",
          "process": "\(host.process)",
        ])
    } catch {
      finish(ticket, error)
    }
  }

  private func enter(
    _ started: HostProcess, _ load: LoadRequest, _ serial: UInt64, _ ticket: UInt64
  ) throws(NetmapError) -> ModuleHost {
    do throws(NetmapError) {
      let channel = PeerSocket(try started.channel.take(), of: started.user, closer)
      guard clinux_pass_credentials(channel.descriptor) == 0 else {
        throw systemError("setsockopt(SO_PASSCRED)", "netmapd")
      }
      _ = clinux_pass_no_pidfd(channel.descriptor)
      let host = ModuleHost(
        started, channel: channel, serial: serial, bridge: load.bridge, choice: load.choice,
        ticket: ticket)
      hosts[started.process] = host
      do throws(NetmapError) {
        host.keys.append(
          try watch(started.death.descriptor, in: urgent) { _ in .moduleHost(host) })
        host.keys.append(try watch(channel.descriptor, in: urgent) { _ in .moduleHost(host) })
        // It is known for what it is from now on, so it may connect. It may have ended by now, and have said why.
        try? channel.send(Message.bytes(.done))
      } catch {
        bury(host)
        throw error
      }
      return host
    } catch {
      end(started)
      throw error
    }
  }

  private func end(_ started: HostProcess) {
    guard let opener = settings.opener else { return started.end() }
    closer.run(for: DaemonUser.own) { opener.endHost(started.process) }
  }

  /// Whether a module host's port may be opened: by such a process, once, before the module is loaded; and
  /// that is all that such a process opens.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func checkHost(_ request: RegisterRequest, _ client: Client) throws(NetmapError) {
    guard request.flags.contains(.moduleHost) || client.role == .moduleHost else { return }
    guard client.role == .moduleHost, request.flags.contains(.moduleHost),
      let host = hosts[client.process], case .starting = host.phase, host.port == nil,
      request.name.rawValue == "\(host.bridge):.module\(host.process)",
      request.flags.isDisjoint(with: [.isolated, .exclusive, .backpressure])
    else {
      throw NetmapError(
        .notPermitted, "register", request.name.rawValue,
        reason: "only processes that netmapd starts run modules")
    }
  }

  /// The port of a module host is open.
  func noteHost(_ binding: OpenBinding) {
    guard let host = hosts[binding.process], let place = binding.registration.place else { return }
    // What it costs is its user's, whoever opened it.
    binding.isHidden = true
    host.port = (place.index, binding.registration.segment)
  }

  /// A host has said something, or has ended.
  func serve(_ host: ModuleHost) {
    var received = host.channel.receive()
    // An end whose word was not read comes before what it has said.
    if case .refused = received { received = host.channel.receive() }
    switch received {
    case .nothing: break
    // It would be reported again and again.
    case .end, .refused, .lost: urgent.remove(host.channel.descriptor)
    case .message(let arrival):
      // Once is enough; what comes later is the module's.
      urgent.remove(host.channel.descriptor)
      guard case .starting = host.phase else { break }
      do throws(NetmapError) {
        var body = try Message(arrival.bytes).answer()
        host.phase = .ready(try body.takeString())
        host.deadline = monotonicNanoseconds() + 500_000_000
      } catch {
        refuse(host, error)
      }
      tryRedirect(host)
    }
    guard host.started.hasEnded else { return }
    log.info(
      "module ended", metadata: ["switch": "\(host.bridge)", "process": "\(host.process)"])
    refuse(
      host,
      NetmapError(
        .inputOutput, "load", host.choice.name, reason: "its process ended while it was starting",
        remedy: "see \(address.path).module.log"))
    bury(host)
  }

  /// Has the switch work by the host, as soon as nobody can be reading what is to be written.
  private func tryRedirect(_ host: ModuleHost) {
    guard case .ready(let name) = host.phase, let port = host.port, !host.isAsked else { return }
    host.isAsked = true
    control.put(
      .redirect(
        ControlThread.HostedPort(
          process: host.process, serial: host.serial, index: port.index, name: name,
          choice: host.choice)))
  }

  /// The control thread has tried that.
  func hasRedirected(_ process: Int32, _ result: Result<SwitchAnswer, NetmapError>) {
    guard let host = hosts[process], case .ready(let name) = host.phase else { return }
    host.isAsked = false
    do throws(NetmapError) {
      let answer = try result.get()
      host.phase = .running
      host.progress = (0, monotonicNanoseconds())
      log.info("module works", metadata: ["switch": "\(host.bridge)", "module": "\(name)"])
      guard let ticket = host.ticket else { return }
      host.ticket = nil
      finish(ticket, (Message.bytes(.done) { $0.put(answer) }, []))
    } catch {
      if error.patience > 0, monotonicNanoseconds() < host.deadline { return }
      refuse(host, error)
    }
  }

  /// Tells whoever waits for the host that nothing comes of it, and ends it.
  private func refuse(_ host: ModuleHost, _ error: NetmapError) {
    guard let ticket = host.ticket else { return }
    host.ticket = nil
    end(host)
    finish(ticket, error)
  }

  private func end(_ host: ModuleHost) {
    if case .ended = host.phase { return }
    host.phase = .ended
    end(host.started)
  }

  /// Forgets a host whose process is gone.
  private func bury(_ host: ModuleHost) {
    hosts[host.process] = nil
    urgent.remove(host.death.descriptor)
    urgent.remove(host.channel.descriptor)
    for key in host.keys { sources[key] = nil }
  }

  /// When hosts are to be looked at again; nil while there is none.
  var hostsWatchTime: UInt64? { hosts.isEmpty ? nil : hostsWatchedAt + ModuleHost.watchPause }

  /// Ends hosts that do not get on, or that nobody needs.
  func watchHosts() {
    let now = monotonicNanoseconds()
    guard !hosts.isEmpty, now >= hostsWatchedAt + ModuleHost.watchPause else { return }
    hostsWatchedAt = now
    for host in hosts.values {
      tryRedirect(host)
      switch host.phase {
      case .starting where now >= host.deadline:
        refuse(
          host,
          NetmapError(
            .init(rawValue: ETIMEDOUT), "load", host.choice.name,
            reason: "it has not started in \(ModuleHost.startTime / 1_000_000_000) s",
            remedy: "see \(address.path).module.log"))
      case .running where host.isStalled(at: now):
        log.warning(
          "module does not go on; ended",
          metadata: ["switch": "\(host.bridge)", "process": "\(host.process)"])
        end(host)
      case .running where !control.hasPorts(host.serial): end(host)
      default: break
      }
    }
  }
}
