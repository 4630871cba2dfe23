import CLinux
import Glibc
import Netmap
import NetmapClient
import NetmapCore

extension HostPeer {
  /// Opens both ends of many pipes.
  ///
  /// A thread for each pipe waits for one end, and one poller waits for all other ends.
  static func holdMany(_ pipes: Int) throws {
    var limit = rlimit()
    unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    var items: [PollItem] = []
    for number in 0..<pipes {
      let name = "netmap:h\(number)"
      items.append(
        PollItem(
          try NetmapPort("\(name){1@conf:slots=64", engine: HostEngine.shared), for: .receive))
      // Only the new thread uses the port from now on.
      nonisolated(unsafe) let other = try NetmapPort("\(name)}1", engine: HostEngine.shared)
      try EngineThread.start(name) {
        _ = try? unsafe other.wait(for: .receive)
        fail("a wait ended")
      }
    }
    say("ready")
    _ = try Poller().wait(for: &items)
    fail("a wait ended")
  }

  /// Opens an interface of another network namespace than the process's own.
  static func hold(_ name: String, in namespace: String) throws {
    let address = try DaemonAddress.own()
    let way = DaemonConnection.Way(
      connect: { (purpose) throws(NetmapError) in try address.connect(for: purpose) },
      namespace: { (_) throws(NetmapError) in
        let file = unsafe open(namespace, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw systemError("open", namespace) }
        return OwnedFile(file)
      })
    let connection = try DaemonConnection(address: address, way)
    let opened = try connection.register(RegisterRequest(name: try PortName(name)))
    say("ready")
    while true { withExtendedLifetime(opened) { _ = pause() } }
  }

  /// Opens pipes until a request is refused or `count` pipes are open; keeps them open.
  static func openAll(_ name: String, _ count: Int) -> Never {
    var ports: [NetmapPort] = []
    do throws(NetmapError) {
      for number in 0..<count {
        ports.append(
          try NetmapPort("netmap:\(name)\(number){1@conf:slots=64", engine: HostEngine.shared))
      }
      say("opened \(ports.count)")
    } catch {
      say("opened \(ports.count), then \(error.code.name)")
    }
    while true { pause() }
  }

  /// Opens and closes a pipe repeatedly.
  static func openLoop(_ name: String) throws -> Never {
    say("ready")
    while true {
      if let port = try? NetmapPort("netmap:\(name){1@conf:slots=64", engine: HostEngine.shared) {
        port.close()
      }
    }
  }
}
