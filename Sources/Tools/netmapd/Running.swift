internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore
internal import NetmapDaemon
internal import NetmapLinuxSetup

extension Netmapd {
  /// The socket to serve: an inherited one, or a new one.
  ///
  /// - Returns: The socket, whether it is systemd's, and the log of a daemon in the background.
  /// - Throws: ``NetmapError`` `EADDRINUSE` when a daemon listens there, or the error of bind(2).
  func listeningSocket(
    _ address: DaemonAddress
  ) throws(NetmapError) -> (file: CInt, isSystemds: Bool, log: DaemonLog?) {
    if let listener {
      guard fcntl(listener, F_SETFD, FD_CLOEXEC) == 0 else {
        throw systemError(
          "fcntl", "descriptor \(listener)", remedy: "--listener needs an open socket")
      }
      return (listener, false, nil)
    }
    // sd_listen_fds(3): the first descriptor is 3.
    if environmentNumber("LISTEN_PID") == getpid(), (environmentNumber("LISTEN_FDS") ?? 0) >= 1 {
      unsafe unsetenv("LISTEN_PID")
      unsafe unsetenv("LISTEN_FDS")
      _ = fcntl(3, F_SETFD, FD_CLOEXEC)
      return (3, true, nil)
    }
    let lock = try DaemonLock(address)
    // Open the log before listening: a failure must not leave a socket that no process serves.
    let log = foreground ? nil : try DaemonLog(path: "\(address.path).log")
    let file = try address.listen()
    withExtendedLifetime(lock) {}
    return (file, false, log)
  }

  private func environmentNumber(_ name: String) -> Int32? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe Int32(String(cString: value))
  }

  /// Starts a daemon in the background, and returns when it accepts connections.
  func detach(
    _ listening: CInt, _ address: DaemonAddress, _ tunables: Tunables, _ log: DaemonLog?
  ) throws(NetmapError) {
    let options =
      [
        "--foreground", "--listener", "3", "--socket", address.path, "--idle-exit", "\(idleExit)",
        "--log-level", logLevel,
      ] + admissionOptions + interfaceOptions + TunableOptions.options(for: tunables)
    let own = if let log { log } else { try DaemonLog(path: "\(address.path).log") }
    let process: Int32
    do throws(NetmapError) {
      process = try DaemonProgram.spawn(
        "/proc/self/exe", options, listener: listening, log: own, waits: false)
    } catch {
      // The parent process removes an inherited socket.
      if log != nil { unsafe unlink(address.path) }
      throw error
    }
    try waitForListeners(of: process, log: "\(address.path).log")
  }

  /// Waits until the daemon listens on all sockets: the caller may start clients of any of them next.
  ///
  /// - Throws: ``NetmapError`` when the daemon has ended instead.
  private func waitForListeners(of process: Int32, log: String) throws(NetmapError) {
    for (address, _) in try additionalAddresses() {
      while try address.connect() == nil {
        guard waitpid(process, nil, WNOHANG) == 0 else {
          throw NetmapError(
            .inputOutput, "listen", address.path, reason: "netmapd has ended", remedy: "see \(log)")
        }
        usleep(10_000)
      }
    }
  }

  /// Serves until a signal or idleness ends the daemon.
  func serve(
    _ listening: CInt, _ address: DaemonAddress, _ tunables: Tunables, isSystemds: Bool
  ) throws(NetmapError) {
    let signals = try stopSignals()
    // The daemon waits for its children, and its parent may have ignored SIGCHLD.
    signal(SIGCHLD, SIG_DFL)
    FileLimit.raise()
    share(address)
    var log = Logger(label: "netmapd") { StreamLogHandler.standardError(label: $0) }
    log.logLevel = Logger.Level(rawValue: logLevel) ?? .info
    let listeners =
      [
        Listener(
          listening, address, isolateOthers ? .isolatesOthers : .trusts,
          removesSocket: !isSystemds)
      ] + (try additionalListeners())
    switch ConfinedUser.available() {
    case .user(let user):
      let opener = try OpenerProcess(
        options: brokerOptions(address) + TunableOptions.options(for: tunables), user: user,
        listeners: listeners,
        allowsModules: !noModules, log: log
      ) { (listener) throws(NetmapError) in try renew(listener, main: address) }
      return try opener.run(signals: signals)
    case .none(let reason):
      log.warning(
        "netmapd handles client requests with root's rights: it cannot start a process without them",
        metadata: ["reason": "\(reason)"])
    case .notRoot: break
    }
    // No program that this process runs may gain rights.
    _ = clinux_no_new_privileges()
    OwnInterfaceRights.undoStale()
    // Without the file the numbers of regions begin at 2, as in an engine of one process.
    let blocks = try? RegionBlocks(address)
    let server = try Server(
      listeners: listeners,
      engine: try Engine(
        interfaces: LinuxInterfaces(joinsVeths: joinsVeths), tunables: tunables,
        regionBlocks: blocks?.source),
      settings: settings, log: log)
    try server.run(signals: signals)
  }

  private var settings: Server.Settings {
    var settings = Server.Settings(
      idleExit: idleExit > 0 ? idleExit : nil,
      sharedPorts: allowIsolated.map { PortPattern($0) })
    settings.allowsModules = !noModules
    return settings
  }

  /// Listens again at the address of a listener that this process has shut down.
  private func renew(
    _ listener: Listener, main address: DaemonAddress
  ) throws(NetmapError) -> Listener {
    let lock = try DaemonLock(listener.address)
    defer { withExtendedLifetime(lock) {} }
    let file = try listener.address.listen()
    if case .isolates = listener.admission { letEverybodyIn(listener.address) }
    if listener.address == address { share(address) }
    return Listener(file, listener.address, listener.admission)
  }

  private func letEverybodyIn(_ address: DaemonAddress) {
    _ = unsafe fchmodat(AT_FDCWD, address.path, 0o666, AT_SYMLINK_NOFOLLOW)
  }

  /// The sockets of `--listen`.
  private func additionalListeners() throws(NetmapError) -> [Listener] {
    var result: [Listener] = []
    for (address, admission) in try additionalAddresses() {
      let lock = try DaemonLock(address)
      let file = try address.listen()
      // Any process that reaches the socket may use it: it lies in a folder of the container.
      if case .isolates = admission { letEverybodyIn(address) }
      withExtendedLifetime(lock) {}
      result.append(Listener(file, address, admission))
    }
    return result
  }

  private func additionalAddresses() throws(NetmapError) -> [(DaemonAddress, Admission)] {
    var result: [(DaemonAddress, Admission)] = []
    for text in listen {
      let isIsolated = text.hasSuffix(":isolated")
      let path = isIsolated ? String(text.dropLast(":isolated".count)) : text
      result.append((try DaemonAddress(path: path), isIsolated ? .isolates : .trusts))
    }
    return result
  }

  // MARK: - The broker

  /// The command line of a broker with the same settings as this daemon.
  private func brokerOptions(_ address: DaemonAddress) -> [String] {
    [
      "--broker", "--socket=\(address.path)", "--idle-exit", "\(idleExit)", "--log-level", logLevel,
    ] + admissionOptions + interfaceOptions
  }

  /// The options that decide which users may do what.
  private var admissionOptions: [String] {
    (isolateOthers ? ["--isolate-others"] : []) + (noModules ? ["--no-modules"] : [])
      + listen.flatMap { ["--listen", $0] } + allowIsolated.flatMap { ["--allow-isolated", $0] }
  }

  /// The options that say how interfaces are used.
  private var interfaceOptions: [String] { joinsVeths ? [VethJoining.option] : [] }

  /// Whether the command line or the environment asks for it.
  private var joinsVeths: Bool { joinVeths || VethJoining.isInEnvironment }

  /// Serves the sockets that an opener has opened, without any rights, until the opener ends it.
  func serveAsBroker(_ address: DaemonAddress) throws(NetmapError) {
    let tunables = try tuning.tunables(regionOptions)
    let beginning = try BrokerBeginning()
    FileLimit.raise()
    signal(SIGPIPE, SIG_IGN)
    var log = Logger(label: "netmapd") { StreamLogHandler.standardError(label: $0) }
    log.logLevel = Logger.Level(rawValue: logLevel) ?? .info
    let places =
      [(address, isolateOthers ? Admission.isolatesOthers : .trusts)]
      + (try additionalAddresses())
    guard beginning.listeners.count == places.count else {
      throw NetmapError(
        .invalidArgument, "start", "netmapd",
        reason: "it got \(beginning.listeners.count) listening sockets instead of \(places.count)")
    }
    // The C library reads the time zone now: later this process may open no file.
    tzset()
    try Confinement.enter(beginning.user, opener: beginning.opener)
    var settings = settings
    settings.opener = beginning.link
    let server = try Server(
      listeners: zip(beginning.listeners, places).map { file, place in
        Listener(file, place.0, place.1, removesSocket: false)
      },
      engine: try Engine(
        interfaces: LinuxInterfaces(rights: beginning.link, joinsVeths: joinVeths),
        tunables: tunables,
        regionBlocks: beginning.link.regionBlocks),
      settings: settings, log: log)
    defer { beginning.link.hangUp() }
    try server.run(signals: beginning.end)
  }

  /// Returns SIGTERM and SIGINT as a readable descriptor, and ignores SIGPIPE: a write to a dead peer fails
  /// with an error.
  private func stopSignals() throws(NetmapError) -> CInt {
    signal(SIGPIPE, SIG_IGN)
    // The parent process may have ignored these signals, and signalfd(2) does not report ignored ones.
    signal(SIGTERM, SIG_DFL)
    signal(SIGINT, SIG_DFL)
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, SIGTERM)
    unsafe sigaddset(&set, SIGINT)
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    let file = unsafe signalfd(-1, &set, CInt(CLINUX_SFD_CLOEXEC | CLINUX_SFD_NONBLOCK))
    guard file >= 0 else { throw systemError("signalfd", "netmapd") }
    return file
  }

  /// Lets the group `netmap`, if it exists, use the host's daemon.
  ///
  /// Does not follow links: where other users can write to the folder, the name may no longer be the socket's.
  private func share(_ address: DaemonAddress) {
    if isolateOthers { letEverybodyIn(address) }
    guard !isolateOthers, address == .host, geteuid() == 0, let group = unsafe getgrnam("netmap")
    else { return }
    _ = unsafe lchown(address.path, 0, group.pointee.gr_gid)
    _ = unsafe fchmodat(AT_FDCWD, address.path, 0o660, AT_SYMLINK_NOFOLLOW)
  }
}
