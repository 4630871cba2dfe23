internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// Modules from shared objects. The daemon never loads one into its own process. Each runs in a
// process of its own, with the rights of the user who asked for it. The daemon kills a host that
// makes no progress.

extension Server {
  /// Handles the result of looking up the switch for a module.
  ///
  /// Starts the module's process if the switch exists.
  func loadModule(_ ticket: UInt64, _ result: Result<UInt64, NetmapError>) {
    guard let load = loading[ticket], let request = pending[ticket] else { return }
    do throws(NetmapError) {
      let serial = try result.get()
      guard let client = clients[request.client.slot], client.tag == request.client else {
        throw NetmapError(
          .badDescriptor, "load", load.vale, reason: "the requesting process has ended")
      }
      try HostProcess.checkRoom(
        beside: hosts.values.map(\.started.user), for: client.user, load.vale)
      loading[ticket]?.serial = serial
      guard let opener = settings.opener else {
        let order = HostProcess.Order(
          vale: load.vale, choice: load.choice, user: client.user, group: client.group)
        return begin(ticket, .success(try HostProcess(order, address)))
      }
      guard let sealed = load.sealed else {
        throw NetmapError(
          .invalidArgument, "load", load.vale, reason: "the request arrived without its seal",
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

  /// Handles the result of starting a module's process.
  func begin(_ ticket: UInt64, _ result: Result<HostProcess, NetmapError>) {
    guard let load = loading.removeValue(forKey: ticket) else { return }
    do throws(NetmapError) {
      let started = try result.get()
      guard pending[ticket] != nil, let serial = load.serial else { return end(started) }
      let host = try enter(started, load, serial, ticket)
      log.info(
        "module starts",
        metadata: [
          "switch": "\(load.vale)", "path": "\(load.choice.name)",
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
        started, channel: channel, serial: serial, vale: load.vale, choice: load.choice,
        ticket: ticket)
      hosts[started.process] = host
      do throws(NetmapError) {
        host.keys.append(
          try watch(started.death.descriptor, in: urgent) { _ in .moduleHost(host) })
        host.keys.append(try watch(channel.descriptor, in: urgent) { _ in .moduleHost(host) })
        // The process is registered as a module host from now on, so it may connect. No error
        // matters here: the process may have ended already and left an error message.
        try? channel.send(Message.bytes(.done))
      } catch {
        remove(host)
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

  /// Checks whether a client may open a module host's port.
  ///
  /// Only a module host may, once, before it loads the module, and it may open nothing else.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func checkHost(_ request: RegisterRequest, _ client: Client) throws(NetmapError) {
    guard request.extensions.contains(.moduleHost) || client.role == .moduleHost else { return }
    guard client.role == .moduleHost, request.extensions == .moduleHost,
      let host = hosts[client.process], case .starting = host.phase, host.port == nil,
      request.name.rawValue == "\(host.vale):.module\(host.process)",
      !request.flags.contains(.exclusive)
    else {
      throw NetmapError(
        .notPermitted, "register", request.name.rawValue,
        reason: "only processes that netmapd started may open the port of a module")
    }
  }

  /// Records that a module host has opened its port.
  func noteHost(_ binding: OpenBinding) {
    guard let host = hosts[binding.process], let place = binding.registration.place else { return }
    // Leave the port out of listings and port quotas: module hosts have a quota of their own, by
    // the user who asked for the module.
    binding.isHidden = true
    host.port = (place.index, binding.registration.segment)
  }

  /// Handles a message of a module host, or its end.
  func serve(_ host: ModuleHost) {
    var received = host.channel.receive()
    // The kernel reports the error of a peer that ended without reading before it delivers the
    // peer's messages, so receive once more.
    if case .refused = received { received = host.channel.receive() }
    switch received {
    case .nothing: break
    // epoll would report the end again and again.
    case .end, .refused, .lost: urgent.remove(host.channel.descriptor)
    case .message(let arrival):
      // Only the first message counts. Later messages come from the module's own code.
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
      "module ended", metadata: ["switch": "\(host.vale)", "process": "\(host.process)"])
    refuse(
      host,
      NetmapError(
        .inputOutput, "load", host.choice.name, reason: "its process ended while it was starting",
        remedy: "see \(address.path).module.log"))
    remove(host)
  }

  /// Asks the control thread to redirect the switch to the host.
  ///
  /// The redirection succeeds once no sender can be reading the memory that it writes.
  private func tryRedirect(_ host: ModuleHost) {
    guard case .ready(let name) = host.phase, let port = host.port, !host.isAsked else { return }
    host.isAsked = true
    control.put(
      .redirect(
        ControlThread.HostedPort(
          process: host.process, serial: host.serial, index: port.index, name: name,
          choice: host.choice)))
  }

  /// Handles the result of a redirection.
  func hasRedirected(_ process: Int32, _ result: Result<SwitchAnswer, NetmapError>) {
    guard let host = hosts[process], case .ready(let name) = host.phase else { return }
    host.isAsked = false
    do throws(NetmapError) {
      let answer = try result.get()
      host.phase = .running
      host.beginWatch(at: monotonicNanoseconds())
      log.info("module runs", metadata: ["switch": "\(host.vale)", "module": "\(name)"])
      guard let ticket = host.ticket else { return }
      host.ticket = nil
      finish(ticket, (Message.bytes(.done) { $0.put(answer) }, []))
    } catch {
      if error.patience > 0, monotonicNanoseconds() < host.deadline { return }
      refuse(host, error)
    }
  }

  /// Refuses the request that waits for the host, and kills the host.
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

  /// Removes a host whose process has ended.
  private func remove(_ host: ModuleHost) {
    hosts[host.process] = nil
    urgent.remove(host.death.descriptor)
    urgent.remove(host.channel.descriptor)
    for key in host.keys { sources[key] = nil }
  }

  /// When the server checks the hosts again, monotonic nanoseconds; nil while there are none.
  var hostsWatchTime: UInt64? { hosts.isEmpty ? nil : hostsWatchedAt + ModuleHost.watchPause }

  /// Kills hosts that make no progress, and hosts whose switch has no other ports.
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
            reason: "it did not start within \(ModuleHost.startTime / 1_000_000_000) s",
            remedy: "see \(address.path).module.log"))
      case .running where host.isStalled(at: now):
        log.warning(
          "module makes no progress; killing its process",
          metadata: [
            "switch": "\(host.vale)", "process": "\(host.process)",
            "milliseconds": "\(host.watch.stalled / 1_000_000)",
          ])
        end(host)
      case .running where !control.hasPorts(host.serial): end(host)
      default: break
      }
    }
  }
}
