import CLinux
import Glibc
import NetmapClient
import NetmapCore

/// A file on a fuse(4) file system of this process, which does not answer some requests.
///
/// A process that closes the file, or touches its pages, blocks in the kernel and cannot be killed. `umount -f`
/// ends that.
enum HangingFiles {
  /// Opcodes of fuse(4).
  private enum Call {
    static let getattr: UInt32 = 3
    static let open: UInt32 = 14
    static let read: UInt32 = 15
    static let flush: UInt32 = 25
    static let initialize: UInt32 = 26
    static let interrupt: UInt32 = 36
  }

  /// Mounts the file system on a file.
  private static func mount(_ path: String) throws {
    let device = unsafe Glibc.open("/dev/fuse", O_RDWR | O_CLOEXEC)
    guard device >= 0 else { throw AttackError("/dev/fuse: errno \(errno)") }
    Glibc.close(unsafe Glibc.open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644))
    let options = "fd=\(device),rootmode=100644,user_id=0,group_id=0,allow_other"
    guard unsafe Glibc.mount("hostile-peer", path, "fuse", 6, options) == 0 else {
      throw AttackError("mount: errno \(errno)")
    }
    try EngineThread.start("fuse") { serve(device) }
  }

  private static func serve(_ device: CInt) {
    var request = [UInt8](repeating: 0, count: 1 << 18)
    while true {
      let count = unsafe read(device, &request, request.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 40 else { return }
      func field<T: FixedWidthInteger>(_ at: Int, _: T.Type) -> T {
        (0..<MemoryLayout<T>.size).reduce(0) { $0 | T(request[at + $1]) << (8 * T($1)) }
      }
      let (call, unique) = (field(4, UInt32.self), field(8, UInt64.self))
      var answer = MessageWriter()
      switch call {
      case Call.flush, Call.read, Call.interrupt: continue
      case Call.initialize:
        for word: UInt32 in [7, 31, 0, 0] { answer.put(word) }
        for word: UInt32 in [0x10_0010, 65_536] + [UInt32](repeating: 0, count: 10) {
          answer.put(word)
        }
      case Call.getattr:
        // Validity; number, size, blocks, three times; their nanoseconds, mode, links, ...
        for word: UInt64 in [1000, 0, 1, 65_536, 128, 0, 0, 0] { answer.put(word) }
        for word: UInt32 in [0, 0, 0, 0o100644, 1, 0, 0, 0, 4096, 0] { answer.put(word) }
      case Call.open: for _ in 0..<2 { answer.put(UInt64(0)) }
      default: break
      }
      let body = answer.bytes
      var reply = MessageWriter()
      reply.put(UInt32(16 + body.count))
      reply.put(UInt32(0))
      reply.put(unique)
      let bytes = reply.bytes + body
      _ = unsafe write(device, bytes, bytes.count)
    }
  }

  /// Makes the daemon close such files.
  static func close(_ path: String) throws {
    try mount(path)
    let files = (0..<4).map { _ in unsafe Glibc.open(path, O_RDWR | O_CLOEXEC) }
    guard files.allSatisfy({ $0 >= 0 }) else { throw AttackError("open: errno \(errno)") }
    let client = try RawClient()
    let plain = try MessageSocket.pair()
    // More descriptors than a request takes.
    try Wire.send(
      .list, on: client.mailbox, files: [plain.1.descriptor, plain.1.descriptor] + files
    ) { $0.put(UInt32(0)) }
    usleep(300_000)
    HostilePeer.say("ready")
    withExtendedLifetime((client, plain)) { HostilePeer.waitForEnd() }
  }

  /// Asks for a module with a request socket on which every receive hangs.
  static func seal(_ path: String, _ vale: String, _ module: String) throws {
    try mount(path)
    let file = unsafe Glibc.open(path, O_RDWR | O_CLOEXEC)
    // The call makes the kernel ask for the file's size.
    var status = stat()
    _ = unsafe fstat(file, &status)
    let page = unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
    guard file >= 0, let page = unsafe page, unsafe page != MAP_FAILED else {
      throw AttackError("mmap: errno \(errno)")
    }
    let request = SwitchRequest.module(vale, .choose(.loaded(path: module)))
    let (mine, theirs) = try MessageSocket.pair()
    guard clinux_pass_credentials(theirs.descriptor) == 0 else { throw AttackError("credentials") }
    try mine.send(Message.bytes(.control) { $0.put(request) })
    let (socket, address) = (theirs.descriptor, UInt(bitPattern: page))
    // This receive holds the lock of the socket's queue while it waits for the page.
    try EngineThread.start("peek") {
      _ = unsafe recv(
        socket, UnsafeMutableRawPointer(bitPattern: address), 4096, CInt(MSG_PEEK))
    }
    usleep(200_000)
    let client = try RawClient()
    let reply = try MessageSocket.pair()
    try Wire.send(.control, on: client.mailbox, files: [reply.1.descriptor, theirs.descriptor]) {
      $0.put(request)
    }
    HostilePeer.say("ready")
    HostilePeer.say(Wire.answer(on: reply.0, within: 20).text)
    withExtendedLifetime((client, mine, theirs)) { HostilePeer.waitForEnd() }
  }
}
