import CLinux
import Glibc
import NetmapClient
import NetmapCore

/// Descriptors of every kind in place of a socket.
enum OddFiles {
  private static func descriptors() -> [(kind: String, file: CInt)] {
    let unix = CInt(AF_UNIX)
    var pair: [CInt] = [-1, -1]
    unsafe socketpair(unix, CInt(SOCK_STREAM.rawValue), 0, &pair)
    var datagram: [CInt] = [-1, -1]
    unsafe socketpair(unix, CInt(SOCK_DGRAM.rawValue), 0, &datagram)
    var ends: [CInt] = [-1, -1]
    unsafe clinux_pipe(&ends)
    let listening = socket(unix, CInt(SOCK_SEQPACKET.rawValue), 0)
    _ = Glibc.listen(listening, 1)
    return [
      ("UDP socket", socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0)),
      ("TCP socket", socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)),
      ("stream pair", pair[0]), ("datagram pair", datagram[0]),
      ("unconnected socket", socket(unix, CInt(SOCK_SEQPACKET.rawValue), 0)),
      ("listening socket", listening),
      ("pipe to read", ends[0]), ("pipe to write", ends[1]),
      ("path", unsafe open("/etc/passwd", 0o10000000)),
      ("file", unsafe open("/etc/passwd", O_RDONLY)),
      ("epoll", epoll_create1(0)), ("eventfd", eventfd(0, 0)),
      ("memfd", unsafe memfd_create("odd", 0)),
      ("folder", unsafe open("/", O_RDONLY)), ("device", unsafe open("/dev/zero", O_RDWR)),
      ("pidfd", clinux_pidfd_open(getpid())),
    ].filter { $0.1 >= 0 }
  }

  /// Offers each as a mailbox, `count` times in total.
  static func asMailboxes(_ count: Int) throws {
    let files = descriptors()
    var kept: [MessageSocket] = []
    for round in 0..<count {
      guard let socket = try? Wire.connect() else { continue }
      kept.append(socket)
      try? Wire.send(.hello, on: socket, files: [files[round % files.count].file])
    }
    // Also send the daemon its own descriptors.
    let client = try RawClient()
    for file in client.files {
      let socket = try Wire.connect()
      kept.append(socket)
      try? Wire.send(.hello, on: socket, files: [file.descriptor])
    }
    usleep(200_000)
    HostilePeer.say("ready")
    withExtendedLifetime((client, kept)) { HostilePeer.waitForEnd() }
  }

  /// Makes the daemon answer requests of every kind on each, `count` times in total.
  static func asReplies(_ count: Int) throws {
    let files = descriptors()
    var client = try RawClient()
    var kept: [AnyObject] = [client]
    for round in 0..<count {
      let file = files[round % files.count].file
      for kind in [Message.Kind.list, .check, .portInfo, .control] {
        let sent: Void? = try? Wire.send(kind, on: client.mailbox, files: [file], waits: true) {
          if kind == .portInfo, let name = try? PortName("odd{1") {
            $0.put(portInfo: RegisterRequest(name: name), memoryID: 0)
          } else {
            $0.put(UInt32(0))
          }
        }
        // The daemon has hung up: continue as another client.
        if sent == nil, let another = try? RawClient() {
          client = another
          kept.append(another)
        }
      }
      guard let token = try? Wire.connect() else { continue }
      kept.append(token)
      for kind in [Message.Kind.register, .mapPort] {
        try? Wire.send(kind, on: token, files: [file]) {
          if kind == .register, let name = try? PortName("odd{\(round % 60)") {
            $0.put(RegisterRequest(name: name))
          }
          $0.put(client: client.tag)
        }
      }
    }
    usleep(200_000)
    HostilePeer.say("ready")
    withExtendedLifetime(kept) { HostilePeer.waitForEnd() }
  }
}
