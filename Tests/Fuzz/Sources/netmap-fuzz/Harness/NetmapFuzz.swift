import Glibc

/// libFuzzer's main loop, from the fuzzer's library.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ target: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// The target of this process. Set before the fuzzer starts.
private nonisolated(unsafe) var chosen: FuzzTarget = .all[0]

/// Runs one fuzz target: `netmap-fuzz TARGET [libFuzzer's options and folders]`.
///
/// Without arguments, prints the names of the targets.
@main
enum NetmapFuzz {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count > 1 else {
      for target in FuzzTarget.all { print("\(target.name)\t\(target.subject)") }
      return
    }
    // The process that attacks a daemon starts this program too.
    if arguments[1] == "--peer", arguments.count == 3 { FuzzedPeer.run(folder: arguments[2]) }
    guard let target = FuzzTarget.all.first(where: { $0.name == arguments[1] }) else {
      print("netmap-fuzz: there is no target '\(arguments[1])'")
      exit(2)
    }
    unsafe chosen = target
    // The fuzzer keeps the array of arguments, so it must live as long as the process.
    var count = CommandLine.argc - 1
    var rest = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(
      capacity: Int(count) + 1)
    unsafe rest[0] = unsafe CommandLine.unsafeArgv[0]
    for index in 1..<Int(count) { unsafe rest[index] = unsafe CommandLine.unsafeArgv[index + 1] }
    unsafe rest[Int(count)] = nil
    let result = unsafe runFuzzer(&count, &rest) { start, length in
      let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: length))
      unsafe chosen.run(bytes)
      return 0
    }
    exit(result)
  }
}
