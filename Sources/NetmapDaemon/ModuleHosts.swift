internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// Modules from shared objects. The daemon loads none of them: each runs in a process of its own, with the
// rights of the user who asked for it, and is ended when it does not get on.

extension Server {
  /// Whether a request is to load a module: that is answered when its process has started.
  func loadsModule(
    _ message: Message, _ mail: MessageSocket.Datagram, for client: Client
  ) -> Bool {
    var body = message.body
    guard case .module(let bridge, .choose(let choice)) = try? body.takeSwitchRequest(),
      case .loaded(let path, _, _) = choice
    else { return false }
    // A request without a way to answer it is nobody's.
    guard let file = mail.files.first, let copy = try? file.duplicate() else { return true }
    let reply = MessageSocket(owning: copy)
    do throws(NetmapError) {
      guard !isOther(client) else {
        throw NetmapError(
          .notPermitted, "configure", bridge,
          reason: "users with isolated ports may not choose the module of others' switches",
          remedy: "ask root, or the user that netmapd runs as")
      }
      try choice.check()
      let host = try startHost(choice, on: bridge, for: client, reply)
      log.info(
        "module starts",
        metadata: ["switch": "\(bridge)", "path": "\(path)", "process": "\(host.process)"])
    } catch {
      log.debug("refused", metadata: ["reason": "\(error)"])
      try? reply.send(Message.refusal(error), waits: false)
    }
    return true
  }

  private func startHost(
    _ choice: SwitchModuleChoice, on bridge: String, for client: Client, _ reply: MessageSocket
  ) throws(NetmapError) -> ModuleHost {
    guard hosts.count < 64 else {
      throw NetmapError(
        .outOfMemory, "load", bridge, reason: "\(hosts.count) processes run modules already",
        remedy: "remove some")
    }
    let serial = try engine.serial(ofSwitch: bridge)
    guard case .loaded(let path, let configuration, let fallback) = choice else {
      throw NetmapError(.invalidArgument, "load", bridge, reason: "it is no shared object")
    }
    let (mine, theirs) = try MessageSocket.pair()
    let process = try DaemonProgram.spawn(
      "/proc/self/exe",
      [
        "--module-host=\(path)", "--module-switch=\(bridge)",
        "--module-configuration==\(configuration)", "--module-fallback=\(fallback.rawValue)",
        "--module-user=\(client.user)", "--module-group=\(client.group)",
        "--socket=\(address.path)",
      ], listener: theirs.descriptor, log: try DaemonLog(path: "\(address.path).module.log"),
      waits: false,
      // A process that traps is to be gone at once: the switch waits for its end.
      environment: ["SWIFT_BACKTRACE=enable=no"])
    let pidfd = clinux_pidfd_open(process)
    guard pidfd >= 0 else {
      let error = systemError("pidfd_open", path, remedy: "modules need Linux 5.3 or later")
      kill(process, SIGKILL)
      _ = waitpid(process, nil, 0)
      throw error
    }
    let host = ModuleHost(
      process: process, death: OwnedFile(pidfd), channel: mine, serial: serial, bridge: bridge,
      choice: choice, reply: reply)
    hosts[process] = host
    do throws(NetmapError) {
      host.keys.append(try watch(pidfd) { _ in .moduleHost(host) })
      host.keys.append(try watch(mine.descriptor) { _ in .moduleHost(host) })
    } catch {
      kill(process, SIGKILL)
      _ = waitpid(process, nil, 0)
      bury(host)
      throw error
    }
    return host
  }

  /// Whether a request to open a module host's port is from one.
  ///
  /// - Throws: ``NetmapError`` `EPERM`.
  func checkHost(_ request: RegisterRequest, _ client: Client) throws(NetmapError) {
    guard request.flags.contains(.moduleHost) else { return }
    guard let host = hosts[client.process], case .starting = host.phase,
      request.name.rawValue.hasPrefix("\(host.bridge):")
    else {
      throw NetmapError(
        .notPermitted, "register", request.name.rawValue,
        reason: "only processes that netmapd starts run modules")
    }
  }

  /// The port of a module host is open.
  func noteHost(_ binding: OpenBinding) {
    guard let host = hosts[binding.process], let place = binding.registration.place else { return }
    binding.isHidden = true
    host.port = (place.index, binding.registration.segment)
  }

  /// A host has said something, or has ended.
  func serve(_ host: ModuleHost) {
    let mail = try? host.channel.receive(waits: false)
    if let mail, mail.bytes.isEmpty {
      // It would be reported again and again.
      queue.remove(host.channel.descriptor)
    }
    if let mail, !mail.bytes.isEmpty, case .starting = host.phase {
      do throws(NetmapError) {
        var body = try Message(mail.bytes).answer()
        host.phase = .ready(try body.takeString())
        host.deadline = monotonicNanoseconds() + 500_000_000
      } catch {
        refuse(host, error)
      }
      tryRedirect(host)
    }
    var status: CInt = 0
    guard unsafe waitpid(host.process, &status, WNOHANG) == host.process else { return }
    let isKilled = status & 0x7f != 0
    log.log(
      level: isKilled ? .warning : .info, "module ended",
      metadata: [
        "switch": "\(host.bridge)", "process": "\(host.process)",
        "signal": "\(isKilled ? status & 0x7f : 0)",
      ])
    refuse(
      host,
      NetmapError(
        .inputOutput, "load", host.choice.name, reason: "its process ended while it was starting",
        remedy: "see \(address.path).module.log"))
    bury(host)
  }

  /// Has the switch work by the host, as soon as nobody can be reading what is to be written.
  private func tryRedirect(_ host: ModuleHost) {
    guard case .ready(let name) = host.phase, let port = host.port else { return }
    do throws(NetmapError) {
      let answer = try engine.redirect(
        host.serial, to: port.index, name: name, process: host.process, as: host.choice)
      host.phase = .running
      host.progress = (0, monotonicNanoseconds())
      log.info("module works", metadata: ["switch": "\(host.bridge)", "module": "\(name)"])
      try? host.reply?.send(Message.bytes(.done) { $0.put(answer) }, waits: false)
      host.reply = nil
    } catch {
      if error.mayPass, monotonicNanoseconds() < host.deadline { return }
      refuse(host, error)
    }
  }

  /// Tells whoever waits for the host that nothing comes of it, and ends it.
  private func refuse(_ host: ModuleHost, _ error: NetmapError) {
    guard let reply = host.reply else { return }
    try? reply.send(Message.refusal(error), waits: false)
    host.reply = nil
    end(host)
  }

  private func end(_ host: ModuleHost) {
    if case .ended = host.phase { return }
    host.phase = .ended
    kill(host.process, SIGKILL)
  }

  /// Forgets a host whose process is gone.
  private func bury(_ host: ModuleHost) {
    hosts[host.process] = nil
    queue.remove(host.death.descriptor)
    queue.remove(host.channel.descriptor)
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
      case .running where !engine.hasPorts(host.serial): end(host)
      default: break
      }
    }
  }
}
