import Glibc
import NetmapClient
import NetmapCore

/// A file on a fuse(4) file system of this process, which does not answer some requests.
///
/// A process that closes the file, or touches its pages, blocks in the kernel and cannot be killed. `umount -f`
/// ends that.
package enum FuseFile {
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
  ///
  /// - Parameters:
  ///   - path: The file, which is made when it does not exist.
  ///   - hangs: Whether the file system leaves reads and closes of a thread unanswered.
  /// - Throws: ``StormError`` when the kernel refuses.
  package static func mount(
    _ path: String, hangs: @escaping @Sendable (_ thread: Int32) -> Bool = { _ in true }
  ) throws {
    let device = Glibc.open("/dev/fuse", O_RDWR | O_CLOEXEC)
    guard device >= 0 else { throw StormError("/dev/fuse: errno \(errno)") }
    Glibc.close(Glibc.open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644))
    let options = "fd=\(device),rootmode=100666,user_id=0,group_id=0,allow_other"
    guard Glibc.mount("hostile-peer", path, "fuse", 6, options) == 0 else {
      throw StormError("mount: errno \(errno)")
    }
    try EngineThread.start("fuse") { serve(device, hangs) }
  }

  /// Ends every wait for the file.
  package static func unmount(_ path: String) {
    _ = umount2(path, CInt(MNT_FORCE) | CInt(MNT_DETACH))
  }

  private static func serve(_ device: CInt, _ hangs: (Int32) -> Bool) {
    defer { close(device) }
    var request = [UInt8](repeating: 0, count: 1 << 18)
    while true {
      let count = read(device, &request, request.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 40 else { return }
      func field<T: FixedWidthInteger>(_ at: Int, _: T.Type) -> T {
        (0..<MemoryLayout<T>.size).reduce(0) { $0 | T(request[at + $1]) << (8 * T($1)) }
      }
      let (call, unique) = (field(4, UInt32.self), field(8, UInt64.self))
      var answer = MessageWriter()
      switch call {
      case Call.interrupt: continue
      case Call.flush, Call.read: if hangs(field(32, Int32.self)) { continue }
      case Call.initialize:
        for word: UInt32 in [7, 31, 0, 0] { answer.put(word) }
        for word: UInt32 in [0x10_0010, 65_536] + [UInt32](repeating: 0, count: 10) {
          answer.put(word)
        }
      case Call.getattr:
        // Validity; number, size, blocks, three times; their nanoseconds, mode, links, ...
        for word: UInt64 in [1000, 0, 1, 65_536, 128, 0, 0, 0] { answer.put(word) }
        for word: UInt32 in [0, 0, 0, 0o100666, 1, 0, 0, 0, 4096, 0] { answer.put(word) }
      case Call.open: for _ in 0..<2 { answer.put(UInt64(0)) }
      default: break
      }
      let body = answer.bytes
      var reply = MessageWriter()
      reply.put(UInt32(16 + body.count))
      reply.put(UInt32(0))
      reply.put(unique)
      let bytes = reply.bytes + body
      _ = write(device, bytes, bytes.count)
    }
  }
}
